#include "gal/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gal/epoch_samples.h"
#include "tests/gal/training/tiny_run.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal::test {
namespace {

using galrec::test::expect_error;
using galrec::test::TemporaryFolder;

const std::vector<std::string> kNoDropout = {"model.dropout=0", "model.embedding_dropout=0"};

std::vector<float> values(TinyRun& run) {
  const auto v = run.model->parameters().values();
  return {v.data, v.data + v.size()};
}

// One step over 12 samples as one micro-batch, or as many: the gradient is the mean over the samples either way. With
// the six losses the queue would differ between micro-batches, so it is the recommendation loss that shows it.
TEST(GalTask, AccumulationIsTheMeanOverTheBatch) {
  TemporaryFolder folder;
  std::vector<std::vector<float>> after;
  for (const char* micro : {"12", "4", "5", "1"}) {
    auto overrides = kNoDropout;
    for (const char* o : {"train.batch=12", "loss.l1=0", "loss.l2=0", "loss.l3=0", "train.eps=1e-3"}) overrides.emplace_back(o);
    overrides.push_back(std::string("train.micro_batch=") + micro);
    TinyRun run(tiny_config(overrides), folder / "spiece.model", 1);
    const auto before = values(run);
    GalTask task(run.ctx, run.parts());
    task.begin_epoch(0);
    const Figures figures = task.step({.step = 0, .epoch = 0, .first = 0, .count = 12});
    EXPECT_EQ(figures[0].first, "loss");
    EXPECT_TRUE(std::isfinite(figures[0].second));
    EXPECT_NE(values(run), before);
    after.push_back(values(run));
  }
  for (std::size_t i = 1; i < after.size(); ++i) galrec::test::expect_close(after[i], after[0], 2e-5, "parameters after a step");
}

TEST(GalTask, FiguresNameEverything) {
  TemporaryFolder folder;
  TinyRun run(tiny_config(), folder / "spiece.model", 2);
  GalTask task(run.ctx, run.parts());
  task.begin_epoch(0);
  std::map<std::string, double> figures;
  for (std::int64_t s = 0; s < 4; ++s)  // the queues are empty at first
    for (const auto& [name, value] : task.step({.step = s, .epoch = 0, .first = 6 * s, .count = 6})) figures[name] = value;
  for (const char* name : {"loss", "L0", "L1u", "L1i", "L2u", "L2i", "L3u", "L3i", "accuracy_L1u", "saturation_L3i", "alignment_L2u",
                           "uniformity_u0", "uniformity_i2", "queue_age", "queue_fill", "user_neighbour_rate", "grad_norm", "lr"}) {
    ASSERT_TRUE(figures.contains(name)) << name;
    EXPECT_TRUE(std::isfinite(figures[name])) << name;
  }
  const double weighted = figures["L0"] + 0.1 * (figures["L1u"] + figures["L1i"] + figures["L2u"] + figures["L2i"] + figures["L3u"] + figures["L3i"]);
  EXPECT_NEAR(figures["loss"], weighted, 1e-4 * std::abs(weighted));
  EXPECT_GT(figures["L1u"], 0);
  EXPECT_EQ(figures["queue_fill"], 1);
  EXPECT_GT(figures["grad_norm"], 0);
}

TEST(GalTask, MomentumFollowsOncePerOptimiserStep) {
  TemporaryFolder folder;
  TinyRun run(tiny_config({"momentum.m=0.75", "train.micro_batch=2"}), folder / "spiece.model", 1);
  GalTask task(run.ctx, run.parts());
  const auto start = values(run);
  task.begin_epoch(0);
  task.step({.step = 0, .epoch = 0, .first = 0, .count = 6});
  task.save(folder / "");
  const data::CheckpointReader reader(folder / "training.safetensors");
  const auto& store = run.model->parameters();
  int averaged = 0;
  for (const auto& span : store.spans()) {
    if (!reader.contains("momentum." + span.name)) continue;
    ++averaged;
    const auto momentum = reader.read_f32("momentum." + span.name);
    std::vector<float> expected;
    for (std::int64_t i = 0; i < span.size; ++i) {
      const auto at = span.offset + i;
      expected.push_back(0.75f * start[static_cast<std::size_t>(at)] + 0.25f * store.values()[at]);
    }
    galrec::test::expect_close(momentum, expected, 1e-6, span.name);
  }
  EXPECT_GT(averaged, 8);
  EXPECT_EQ(reader.read_i64("queue_state")[1], 6);  // three micro-batches of two rows
}

TEST(GalTask, NanLossNamesStepAndTerms) {
  TemporaryFolder folder;
  TinyRun run(tiny_config(), folder / "spiece.model", 1);
  GalTask task(run.ctx, run.parts());
  task.begin_epoch(0);
  auto& store = run.model->parameters();
  store.value(store.require("decoder.final_layer_norm.weight"))(0, 0) = std::numeric_limits<float>::quiet_NaN();
  expect_error<NumericalError>([&] { task.step({.step = 41, .epoch = 0, .first = 0, .count = 6}); }, {"step 42", "L0"});
}

// A finite loss whose gradient is beyond fp32: the head's first column is huge, the state's first component tiny.
TEST(GalTask, OverflowingGradientNamesParameters) {
  TemporaryFolder folder;
  auto overrides = kNoDropout;
  for (const char* o : {"loss.l1=0", "loss.l2=0", "loss.l3=0", "loss.columns=items", "train.batch=1"}) overrides.emplace_back(o);
  TinyRun run(tiny_config(overrides), folder / "spiece.model", 1);
  GalTask task(run.ctx, run.parts());
  task.begin_epoch(0);
  const auto sample = epoch_samples(run.split, run.builder.sampler(), run.parts().gal.sampling, TinyRun::kSeed, 0, 1)[0];
  const auto target = run.split.train(sample.user)[static_cast<std::size_t>(sample.cut)];
  auto& store = run.model->parameters();
  const auto head = store.value(store.require("lm_head.weight"));
  for (std::int64_t r = 0; r < head.rows(); ++r) head(r, 0) = r == head.rows() - run.dataset.num_items() + target ? 3e38f : -3e38f;
  store.value(store.require("decoder.final_layer_norm.weight"))(0, 0) = 2e-39f;
  expect_error<NumericalError>([&] { task.step({.step = 0, .epoch = 0, .first = 0, .count = 1}); },
                               {"step 1", "gradient's norm", "not finite in", "shared.weight"});
}

TEST(Trainer, LearnsWhatIsThereToLearn) {
  TemporaryFolder folder;
  auto overrides = std::vector<std::string>{"train.epochs=8", "train.batch=32", "train.micro_batch=32", "train.lr=0.01", "train.checkpoint_minutes=60",
                                            "loss.columns=items", "sample.unit=prefix", "model.dropout=0", "model.embedding_dropout=0.1"};
  TinyRun run(tiny_config(overrides), folder / "spiece.model", 1, 120, 60, 32);
  const auto result = run.train(folder / "r");
  ASSERT_EQ(result.loop.reason, StopReason::kFinished);
  double chance = 0;  // NDCG@10 of a random order of 60 items
  for (int rank = 1; rank <= 10; ++rank) chance += 1 / std::log2(rank + 1.0) / 60;
  EXPECT_GT(result.valid.metrics(std::vector<std::int64_t>{10}).at("NDCG@10"), 2 * chance);
  EXPECT_GT(result.test.metrics(std::vector<std::int64_t>{10}).at("NDCG@10"), 1.5 * chance);
  const auto summary = nlohmann::json::parse(data::read_file(folder / "r/result.json"));
  EXPECT_NEAR(summary["valid"]["NDCG@10"].get<double>(), result.loop.state.best_score, 1e-12);  // the best checkpoint was loaded
  EXPECT_EQ(read_ranks(folder / "r/ranks_test.tsv").ranks, result.test.ranks);
}

TEST(Trainer, WarmStartTakesOverTheParameters) {
  TemporaryFolder folder;
  TinyRun first(tiny_config(), folder / "spiece.model", 1);
  first.train(folder / "first", {.max_steps = 2});
  const auto trained = values(first);
  TinyRun second(tiny_config({"train.warm_start=" + (folder / "first/last").string(), "train.lr=0", "loss.l2=0.5"}), folder / "spiece.model", 1);
  EXPECT_NE(values(second), trained);
  second.train(folder / "second", {.max_steps = 1});
  EXPECT_EQ(values(second), trained);
}

TEST(Trainer, AnotherConfigurationIsRefusedByName) {
  TemporaryFolder folder;
  TinyRun first(tiny_config(), folder / "spiece.model", 1);
  first.train(folder / "r", {.max_steps = 1});
  TinyRun second(tiny_config({"train.lr=0.5"}), folder / "spiece.model", 1);
  expect_error<UsageError>([&] { second.train(folder / "r"); }, {"train.lr", "another configuration"});
}

TEST(Checkpoint, DamagedFoldersNameFileAndTensor) {
  TemporaryFolder folder;
  TinyRun run(tiny_config(), folder / "spiece.model", 1);
  run.train(folder / "r", {.max_steps = 1});
  GalTask task(run.ctx, run.parts());
  const auto last = folder / "r/last";
  EXPECT_NO_THROW(task.load(last));
  // A checkpoint without graph-aware losses lacks what this run needs, and has nothing that it does not know.
  TinyRun plain(tiny_config({"loss.l1=0", "loss.l2=0", "loss.l3=0"}), folder / "spiece.model", 1);
  plain.train(folder / "plain", {.max_steps = 1});
  expect_error<DataError>([&] { task.load(folder / "plain/last"); }, {"training.safetensors", "momentum."});
  GalTask plain_task(plain.ctx, plain.parts());
  expect_error<DataError>([&] { plain_task.load(last); }, {"training.safetensors", "unknown tensor"});
  const std::string whole = data::read_file(last / "training.safetensors");
  data::write_file(last / "training.safetensors", whole.substr(0, whole.size() - 4));
  expect_error<DataError>([&] { task.load(last); }, {"training.safetensors"});
  TinyRun wide(tiny_config(), folder / "spiece.model", 1, 25, 30, 32);
  expect_error<DataError>([&] { load_model(last, *wide.model); }, {"model.safetensors"});
}

}  // namespace
}  // namespace galrec::gal::test
