#include "gal/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "data/atomic_file.h"
#include "data/checkpoint_reader.h"
#include "gal/step_report.h"
#include "tests/gal/tiny_model.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/real_data.h"

namespace galrec::gal {
namespace {

using autograd::Recording;
using test::TinyModel;

template <class T>
double root_mean_square(const T* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return std::sqrt(sum / static_cast<double>(n));
}

void expect_gradients(TinyModel<double>& m, const LossOptions& loss, const std::string& what) {
  auto& store = m.model.parameters();
  store.zero_gradients();
  const auto result = m.forward(loss, Recording::kOn);
  m.tape.backward(result.loss);
  store.finish_gradients();
  for (const auto& span : store.spans()) {
    const auto id = store.require(span.name);
    const auto g = store.gradient(id);
    const auto x = store.value(id);
    // The steepest element and two fixed ones of every parameter.
    const std::int64_t steepest =
        std::max_element(g.data, g.data + span.size, [](double a, double b) { return std::abs(a) < std::abs(b); }) -
        g.data;
    for (const auto i : {steepest, span.size / 3, span.size - 1}) {
      constexpr double kStep = 1e-5;
      const double kept = x.data[i];
      x.data[i] = kept + kStep;
      const double up = m.forward(loss, Recording::kOff).loss.value()(0, 0);
      x.data[i] = kept - kStep;
      const double down = m.forward(loss, Recording::kOff).loss.value()(0, 0);
      x.data[i] = kept;
      const double numeric = (up - down) / (2 * kStep);
      EXPECT_TRUE(std::abs(numeric - g.data[i]) <= 1e-6 * std::max(1.0, std::abs(g.data[steepest])))
          << what << ": " << span.name << "[" << i << "]: central difference " << numeric << ", gradient " << g.data[i];
    }
  }
}

TEST(GalModel, GradientsOfTheWholeStep) {
  TinyModel<double> m({}, 1);
  expect_gradients(m, {.l1 = 0.3, .l2 = 0.4, .l3 = 0.5}, "all columns");
}

TEST(GalModel, GradientsUnderOtherChoices) {
  TinyModel<double> first({.pooling = Pooling::kFirst, .mapping = Mapping::kMlp, .rows = ExternalRows::kTrainable}, 1);
  expect_gradients(first,
                   {.columns = LossColumns::kItems, .l1 = 0.3, .l2 = 0.4, .l3 = 0.5, .l1_anchor = L1Anchor::kSymmetric},
                   "mlp, trainable rows");
  auto scaled = test::tiny_t5();
  scaled.scale_decoder_outputs = true;
  TinyModel<double> eos({.pooling = Pooling::kEos}, 1, scaled);
  expect_gradients(eos, {.l1 = 0.3, .l2 = 0, .l3 = 0.5}, "eos, scaled head");
}

TEST(GalModel, FrozenRowsAreNoParametersAndTrainableRowsAre) {
  TinyModel<float> frozen, trainable({.rows = ExternalRows::kTrainable});
  EXPECT_EQ(frozen.model.parameters().find("h_item"), -1);
  auto& store = trainable.model.parameters();
  EXPECT_EQ(store.span(store.require("h_user")).shape, (std::vector<std::int64_t>{20, 6}));
}

TEST(GalModel, ItemScoresAreTheColumnsOfTheCrossEntropy) {
  TinyModel<double> m;
  const double l0 = m.forward({.columns = LossColumns::kItems, .l1 = 0, .l2 = 0, .l3 = 0}, Recording::kOff).l0.value()(0, 0);
  m.tape.reset(Recording::kOff);
  const auto states = m.model.rank_states(m.tape, m.batch).value();
  const auto head = m.model.item_head();
  ASSERT_EQ(head.rows(), 15);
  double sum = 0;
  for (std::int64_t b = 0; b < states.rows(); ++b) {
    std::vector<double> z;
    double total = 0;
    for (std::int64_t i = 0; i < 15; ++i) {
      double s = 0;
      for (std::int64_t c = 0; c < 16; ++c) s += states(b, c) * head(i, c);
      z.push_back(s);
      total += std::exp(s);
    }
    sum += std::log(total) - z[static_cast<std::size_t>(m.batch.target[static_cast<std::size_t>(b)])];
  }
  EXPECT_NEAR(l0, sum / static_cast<double>(states.rows()), 1e-10);
}

TEST(GalModel, TheRecommendationAloneIsTheSameWithoutTheOtherHops) {
  TinyModel<double> m;
  const LossOptions alone{.l1 = 0, .l2 = 0, .l3 = 0};
  const double all = m.forward(alone, Recording::kOff).l0.value()(0, 0);
  const auto samples = test::all_prefixes<TrainSample>(m.split);
  m.builder.build(m.batch, std::span(samples).subspan(3, 5), HopSet::kRecommendOnly, 0);
  m.tape.reset(Recording::kOff);
  EXPECT_NEAR(m.model.forward(m.tape, m.batch, nullptr, alone, {}).l0.value()(0, 0), all, 1e-12);
  test::expect_error<CheckError>([&] { m.model.forward(m.tape, m.batch, &m.queues, {}, {}); }, {"all hops"});
}

TEST(GalModel, EmbeddedIdsHaveTheWidthOfTheText) {
  const auto dataset = test::random_dataset(20, 15, 8, 4);
  const auto split = data::Split::leave_one_out(dataset);
  const auto external = test::random_external(split, 6);
  CpuContext ctx(1);
  for (const auto mapping : {Mapping::kLinear, Mapping::kMlp}) {
    GalModel<float> model({.t5 = test::tiny_t5(),
                           .text_rows = test::kTextRows,
                           .users = 20,
                           .items = 15,
                           .user_dim = 6,
                           .item_dim = 6,
                           .mapping = {.mapping = mapping}});
    model.set_external(external.user(), external.item());
    model.initialize(ctx, 3);
    Buffer<float> table((test::kTextRows + 35) * 16);
    model.embedding_table(ctx, table.view(test::kTextRows + 35, 16));
    const double text = root_mean_square(table.data(), test::kTextRows * 16);
    EXPECT_NEAR(root_mean_square(table.data() + test::kTextRows * 16, 20 * 16), text, 1e-5 * text);
    EXPECT_NEAR(root_mean_square(table.data() + (test::kTextRows + 20) * 16, 15 * 16), text, 1e-5 * text);
    // Head rows of ids: their embedding times d^-1/2.
    for (std::int64_t c = 0; c < 16; ++c) {
      EXPECT_NEAR(model.item_head()(4, c), table[(test::kTextRows + 24) * 16 + c] / 4, 1e-6);
    }
  }
}

TEST(GalModel, RandomHeadRowsDoNotFollowTheVectors) {
  TinyModel<float> m({.head_init = HeadInit::kRandom});
  Buffer<float> table((test::kTextRows + 35) * 16);
  m.model.embedding_table(m.ctx, table.view(test::kTextRows + 35, 16));
  double dot = 0;
  for (std::int64_t i = 0; i < 15 * 16; ++i)
    dot += m.model.item_head().data[i] * table[(test::kTextRows + 20) * 16 + i];
  const double cosine = dot / (15 * 16) /
                        (root_mean_square(m.model.item_head().data, 15 * 16) *
                         root_mean_square(table.data() + (test::kTextRows + 20) * 16, 15 * 16));
  EXPECT_LT(std::abs(cosine), 0.3);
}

/// All gradients of a step with dropout, as bytes.
std::vector<float> gradients(int threads) {
  TinyModel<float> m({}, threads);
  m.rates = layers::DropoutRates::uniform(0.2);
  m.model.parameters().zero_gradients();
  m.tape.backward(m.forward({}, Recording::kOn, 4).loss);
  m.model.parameters().finish_gradients();
  const auto g = m.model.parameters().gradients();
  return {g.data, g.data + g.size()};
}

TEST(GalModel, BitsDoNotDependOnThreads) {
  const auto one = gradients(1);
  for (const int threads : {2, 3, 4}) {
    const auto more = gradients(threads);
    ASSERT_EQ(one.size(), more.size());
    EXPECT_EQ(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)), 0) << threads << " threads";
  }
}

TEST(GalModel, ReportsAccuracyAndSaturation) {
  TinyModel<double> m;
  const auto r = m.forward({}, Recording::kOff);
  const auto figures = read_figures(m.ctx, r);
  EXPECT_EQ(figures.loss, r.loss.value()(0, 0));
  for (std::size_t k = 0; k < kTerms; ++k) {
    double wins = 0, share = 0;
    for (std::int64_t b = 0; b < 5; ++b) {
      wins += r.rows[k].positive_score[b] > r.rows[k].hardest[b];
      share += std::exp(-r.rows[k].losses[b]);
    }
    EXPECT_NEAR(figures.accuracy[k], wins / 5, 1e-12);
    EXPECT_NEAR(figures.saturation[k], share / 5, 1e-12);
  }
  EXPECT_EQ(r.embeddings.rows(), 30);
}

TEST(GalModel, LoadsATextModel) {
  const auto folder = test::golden_data("flan_tiny");
  GALREC_REQUIRE_DATA(folder);
  const auto dataset = test::random_dataset(20, 15, 8, 4);
  const auto split = data::Split::leave_one_out(dataset);
  const auto external = test::random_external(split, 6);
  CpuContext ctx(1);
  const data::CheckpointReader file(folder);
  const auto shared = file.read_f32("shared.weight"), head = file.read_f32("lm_head.weight");
  const auto config = layers::T5Config::from_json_text(data::read_file(folder / "config.json"), "config.json");
  const auto rows = static_cast<std::int32_t>(config.vocab_size) - 3;
  GalModel<float> model(
      {.t5 = config, .text_rows = rows, .users = 20, .items = 15, .user_dim = 6, .item_dim = 6, .mapping = {}});
  model.set_external(external.user(), external.item());
  model.load_pretrained(ctx, folder, 1);
  const auto& store = model.parameters();
  const auto n = static_cast<std::size_t>(rows * config.d_model);
  EXPECT_EQ(std::memcmp(store.value(store.require("shared.weight")).data, shared.data(), n * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(store.value(store.require("lm_head.weight")).data, head.data(), n * sizeof(float)), 0);
  const std::string norm = "decoder.final_layer_norm.weight";
  EXPECT_EQ(store.value(store.require(norm))(0, 1), file.read_f32(norm)[1]);
  EXPECT_GT(root_mean_square(model.item_head().data, 15), 0);

  auto wide = config;
  wide.d_ff *= 2;
  GalModel<float> other(
      {.t5 = wide, .text_rows = rows, .users = 20, .items = 15, .user_dim = 6, .item_dim = 6, .mapping = {}});
  other.set_external(external.user(), external.item());
  test::expect_error<DataError>([&] { other.load_pretrained(ctx, folder, 1); }, {"DenseReluDense", "expected shape"});
}

}  // namespace
}  // namespace galrec::gal
