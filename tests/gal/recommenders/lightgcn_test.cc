// labels: threads
// LightGCN against the plain formulas, and what training must do: learn planted structure, repeat its bits, resume.

#include "gal/recommenders/lightgcn.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/checkpoint_reader.h"
#include "data/synthetic.h"
#include "gal/recommenders/pretrain.h"
#include "gal/session.h"
#include "tests/gal/world.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

#include <spdlog/spdlog.h>

namespace galrec::gal {
namespace {

const auto kNoProgress = [](std::int64_t) {};

data::Dataset planted() { return data::make_synthetic({.users = 200, .items = 80, .communities = 4, .seed = 3}); }

std::vector<float> item_table(const LightGcn& model) {
  const auto rows = model.items().rows;
  return {rows.data, rows.data + rows.size()};
}

// mean_k (D^-1/2 A D^-1/2)^k E, dense, in double.
std::vector<double> propagate_densely(const data::Split& split, const std::vector<float>& e0, std::int64_t d, int layers) {
  const auto users = split.dataset().num_users(), nodes = users + split.dataset().num_items();
  std::vector<std::vector<double>> a(static_cast<std::size_t>(nodes), std::vector<double>(static_cast<std::size_t>(nodes), 0));
  for (data::UserId u = 0; u < users; ++u)
    for (data::ItemId i : split.train(u)) a[u][users + i] = a[users + i][u] = 1;
  std::vector<double> degree(static_cast<std::size_t>(nodes), 0);
  for (int r = 0; r < nodes; ++r)
    for (double x : a[r]) degree[r] += x;
  std::vector<double> now(e0.begin(), e0.end()), total(now);
  for (int k = 0; k < layers; ++k) {
    std::vector<double> next(now.size(), 0);
    for (int r = 0; r < nodes; ++r)
      for (int s = 0; s < nodes; ++s)
        if (a[r][s] > 0)
          for (std::int64_t c = 0; c < d; ++c) next[r * d + c] += now[s * d + c] / std::sqrt(degree[r] * degree[s]);
    now = next;
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += now[i];
  }
  for (auto& x : total) x /= layers + 1;
  return total;
}

TEST(LightGcn, VectorsAreTheMeanOfPropagatedLayers) {
  const auto dataset = test::random_dataset(9, 12, 6, 5);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  LightGcn model(ctx, split, {.dim = 5, .layers = 3});
  test::TemporaryFolder folder;
  model.save(folder.path());
  const auto e0 = data::SafetensorsFile::open(folder / "model.safetensors").read_f32("embedding.weight");
  model.finish_epoch(ctx);
  const auto expected = propagate_densely(split, e0, 5, 3);
  const std::vector<double> items(expected.begin() + 9 * 5, expected.end());
  test::expect_close(item_table(model), items, 1e-6, "items");
  const auto tables = model.embeddings(ctx);
  const std::vector<float> user(tables.user.data, tables.user.data + tables.user.size());
  test::expect_close(user, std::vector<double>(expected.begin(), expected.begin() + 9 * 5), 1e-6, "users");
}

// A known user's propagated vector is its own layer 0 share plus what its training items bring: the prefix rule of
// methods.md row 37 for the whole training history.
TEST(LightGcn, PrefixVectorOfTheTrainingItemsLacksOnlyTheOwnLayerZero) {
  const auto dataset = test::random_dataset(8, 11, 7, 2);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  LightGcn model(ctx, split, {.dim = 4, .layers = 2});
  test::TemporaryFolder folder;
  model.save(folder.path());
  const auto e0 = data::SafetensorsFile::open(folder / "model.safetensors").read_f32("embedding.weight");
  const auto tables = model.embeddings(ctx);
  for (data::UserId u = 0; u < 8; ++u) {
    const data::UserId unknown = -1;
    const auto train = split.train(u);
    std::vector<float> prefix(4);
    model.queries(ctx, std::span(&unknown, 1), std::span(&train, 1), view_of(prefix, 1, 4));
    for (int c = 0; c < 4; ++c) EXPECT_NEAR(prefix[c] + e0[u * 4 + c] / 3, tables.user(u, c), 1e-6) << "user " << u;
  }
}

TEST(LightGcn, LearnsPlantedCommunities) {
  const auto dataset = planted();
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  LightGcn model(ctx, split, {.dim = 16, .lr = 0.01, .batch = 256});
  const RankingOptions ranking;
  model.finish_epoch(ctx);
  const double before = mean_metric({MetricKind::kNdcg, 10}, rank_recommender(ctx, model, split, data::Phase::kTest, ranking).ranks);
  double first = 0, last = 0;
  for (int epoch = 1; epoch <= 15; ++epoch) last = model.train_epoch(ctx, epoch, kNoProgress).loss, first = epoch == 1 ? last : first;
  model.finish_epoch(ctx);
  const double after = mean_metric({MetricKind::kNdcg, 10}, rank_recommender(ctx, model, split, data::Phase::kTest, ranking).ranks);
  EXPECT_LT(last, 0.8 * first);
  EXPECT_GT(after, 1.5 * before);
}

TEST(LightGcn, BitsDoNotDependOnThreads) {
  const auto dataset = planted();
  const auto split = data::Split::leave_one_out(dataset);
  std::vector<float> reference;
  for (int threads : {1, 2, 3, 4}) {
    CpuContext ctx(threads);
    LightGcn model(ctx, split, {.dim = 24, .batch = 300});
    model.train_epoch(ctx, 1, kNoProgress);
    model.finish_epoch(ctx);
    if (reference.empty()) reference = item_table(model);
    test::expect_same_bits(item_table(model), reference, fmt::format("{} threads", threads));
  }
}

TEST(LightGcn, NeedsANegativeForSomebody) {
  const auto dataset = test::make_dataset({{0, 1, 2, 0, 1}}, 3);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  test::expect_error<DataError>([&] { LightGcn(ctx, split, {.dim = 4}); }, {"LightGCN"});
}

// A run that stopped after two epochs and went on ends where an uninterrupted one does.
TEST(Pretrain, ResumesToTheSameBits) {
  const auto dataset = planted();
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  test::TemporaryFolder folder;
  const auto log = std::make_shared<spdlog::logger>("silent");
  const auto train = [&](const std::string& name, std::int32_t epochs) {
    data::Config config(pretrain_schema());
    config.set("data.path", std::string("planted"), "test");
    LightGcn model(ctx, split, {.dim = 8, .batch = 256, .seed = 7});
    data::RunFolder run(folder / name, config, {.seed = 7, .commit = "", .command = ""}, data::RunMode::kNewOrResume);
    pretrain(ctx, model, split, {.epochs = epochs, .eval_every = 1, .patience = 100, .ranking = {}}, run, *log, data::ProgressStyle::kSilent);
  };
  train("straight", 4);
  train("resumed", 2);
  train("resumed", 4);
  const auto tensor = [&](const std::string& run) { return data::SafetensorsFile::open(folder / run / "last" / "model.safetensors").read_f32("embedding.weight"); };
  test::expect_same_bits(tensor("resumed"), tensor("straight"), "embedding.weight");
}

}  // namespace
}  // namespace galrec::gal
