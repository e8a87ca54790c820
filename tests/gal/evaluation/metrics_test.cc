#include "gal/evaluation/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

const std::vector<std::int32_t> kRanks{1, 3, 5, 6, 10, 11, 4000};

TEST(Metrics, HandComputedValues) {
  const std::vector<std::int64_t> ks{5, 10};
  const MetricTable table = compute_metrics(kRanks, ks);
  // 1/log2(2) + 1/log2(4) + 1/log2(6) = 1 + .5 + .3868528; 1/log2(7) = .3562072, 1/log2(11) = .2890648
  EXPECT_DOUBLE_EQ(table.at("HR@5"), 3.0 / 7);
  EXPECT_DOUBLE_EQ(table.at("HR@10"), 5.0 / 7);
  EXPECT_NEAR(table.at("NDCG@5"), 1.8868528 / 7, 1e-8);
  EXPECT_NEAR(table.at("NDCG@10"), (1.8868528 + .3562072 + .2890648) / 7, 1e-8);
  EXPECT_NEAR(table.at("MRR"), (1 + 1.0 / 3 + .2 + 1.0 / 6 + .1 + 1.0 / 11 + 1.0 / 4000) / 7, 1e-12);
  EXPECT_EQ(table.users, 7);
  EXPECT_EQ(table.to_json().at("users"), 7);
  EXPECT_THROW(table.at("HR@20"), CheckError);
}

TEST(Metrics, BoundariesOfK) {
  EXPECT_EQ(metric_value({MetricKind::kHitRate, 5}, 5), 1);
  EXPECT_EQ(metric_value({MetricKind::kHitRate, 5}, 6), 0);
  EXPECT_EQ(metric_value({MetricKind::kNdcg, 1}, 1), 1);
  EXPECT_EQ(metric_value({MetricKind::kNdcg, 1}, 2), 0);
  EXPECT_THROW(metric_value({MetricKind::kMrr, 0}, 0), CheckError);
}

TEST(Metrics, NoUsersIsZeroNotNan) {
  const std::vector<std::int64_t> ks{10};
  const auto table = compute_metrics({}, ks);
  for (const double value : table.values) EXPECT_EQ(value, 0);
}

TEST(Metrics, NamesRoundTripAndBadOnesAreUsageErrors) {
  for (const char* name : {"HR@1", "NDCG@20", "MRR"}) EXPECT_EQ(Metric::parse(name).name(), name);
  for (const char* name : {"", "HR", "HR@", "HR@0", "HR@-1", "HR@5x", "ndcg@5", "MAP@5", "MRR@5", "NDCG@99999999999"})
    EXPECT_THROW(Metric::parse(name), UsageError) << name;
  EXPECT_THROW(compute_metrics(kRanks, {}), UsageError);
  const std::vector<std::int64_t> zero{0};
  EXPECT_THROW(compute_metrics(kRanks, zero), UsageError);
}

}  // namespace
}  // namespace galrec::gal
