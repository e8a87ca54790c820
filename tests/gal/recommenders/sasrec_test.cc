// labels: threads
// SASRec: a trained model of S3-Rec's authors through our evaluation, and training on planted series.

#include "gal/recommenders/sasrec.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/synthetic.h"
#include "gal/recommenders/pretrain.h"
#include "tests/gal/world.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/real_data.h"

namespace galrec::gal {
namespace {

const auto kNoProgress = [](std::int64_t) {};

SasRecOptions small(SasRecLoss loss) {
  SasRecOptions o;
  o.encoder.hidden_size = 16;
  o.encoder.intermediate_size = 32;
  o.encoder.max_seq_length = 12;
  o.loss = loss;
  o.dropout = 0.1;
  o.lr = 0.01;
  o.batch = 32;
  return o;
}

// golden/sasrec_toys: every recorded figure to 5 decimals, both phases, both masks.
TEST(SasRec, TrainedToysModelGivesItsRecordedFigures) {
  const auto data = test::real_data("toys"), golden = test::golden_data("sasrec_toys");
  GALREC_REQUIRE_DATA(data);
  GALREC_REQUIRE_DATA(golden);
  const auto dataset = data::Dataset::load(data);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  const auto model = SasRec::from_s3rec_folder(ctx, split, golden);
  std::ifstream in(golden / "expected.json");
  const auto expected = nlohmann::json::parse(in);
  int compared = 0;
  for (const auto phase : {data::Phase::kValid, data::Phase::kTest}) {
    for (const auto mask : {MaskSeen::kNone, MaskSeen::kAll}) {
      RankingOptions options;
      options.mask_seen = mask;
      options.ks = {5, 10, 20};
      const auto table = rank_recommender(ctx, *model, split, phase, options).metrics(options.ks);
      for (const auto& [name, value] : expected.at(phase_name(phase)).at(mask_seen_name(mask)).items()) {
        EXPECT_NEAR(table.at(name), value.get<double>(), 1e-5) << phase_name(phase) << " " << mask_seen_name(mask) << " " << name;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 24);
}

TEST(SasRec, BothLossesLearnPlantedSeries) {
  const auto dataset = data::make_synthetic({.users = 200, .items = 80, .communities = 4, .next_in_series = 0.9, .seed = 3});
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  for (const auto loss : {SasRecLoss::kBce, SasRecLoss::kCe}) {
    SasRec model(ctx, split, small(loss));
    const auto ndcg = [&] { return mean_metric({MetricKind::kNdcg, 10}, rank_recommender(ctx, model, split, data::Phase::kTest, {}).ranks); };
    const double before = ndcg();
    for (int epoch = 1; epoch <= 12; ++epoch) model.train_epoch(ctx, epoch, kNoProgress);
    EXPECT_GT(ndcg(), 2 * before) << (loss == SasRecLoss::kBce ? "bce" : "ce");
  }
}

TEST(SasRec, BitsDoNotDependOnThreads) {
  const auto dataset = data::make_synthetic({.users = 60, .items = 50, .communities = 4, .seed = 1});
  const auto split = data::Split::leave_one_out(dataset);
  std::vector<float> reference;
  for (int threads : {1, 2, 3, 4}) {
    CpuContext ctx(threads);
    SasRec model(ctx, split, small(SasRecLoss::kBce));
    model.train_epoch(ctx, 1, kNoProgress);
    const auto rows = model.items().rows;
    const std::vector<float> table(rows.data, rows.data + rows.size());
    if (reference.empty()) reference = table;
    test::expect_same_bits(table, reference, fmt::format("{} threads", threads));
  }
}

TEST(SasRec, AQueryReadsTheMostRecentItemsOnly) {
  const auto dataset = test::random_dataset(4, 40, 10, 3);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  SasRec model(ctx, split, small(SasRecLoss::kBce));
  std::vector<data::ItemId> longer;
  for (int i = 0; i < 20; ++i) longer.push_back(i);
  const std::vector<data::ItemId> recent(longer.end() - 12, longer.end());
  const std::vector<std::span<const data::ItemId>> histories{longer, recent, {}};
  const std::vector<data::UserId> users(3, -1);
  std::vector<float> out(3 * 16);
  model.queries(ctx, users, histories, view_of(out, 3, 16));
  for (int c = 0; c < 16; ++c) {
    EXPECT_EQ(out[c], out[16 + c]);
    EXPECT_EQ(out[32 + c], 0.0f) << "an empty history has no state";
  }
}

TEST(SasRec, AnotherCatalogueIsRefused) {
  const auto golden = test::golden_data("sasrec_toys");
  GALREC_REQUIRE_DATA(golden);
  const auto dataset = test::random_dataset(4, 40, 10, 3);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  test::expect_error<DataError>([&] { SasRec::from_s3rec_folder(ctx, split, golden); }, {"item_size", "11926", "42"});
}

}  // namespace
}  // namespace galrec::gal
