#include "gal/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::gal {
namespace {

const std::vector<Metric> kHr10{{MetricKind::kHitRate, 10}};

std::vector<std::int32_t> ranks_with_rate(int users, double rate, std::uint64_t seed) {
  PhiloxStream stream({.seed = seed, .step = 0, .stream = 9});
  std::vector<std::int32_t> out;
  for (int u = 0; u < users; ++u) out.push_back(stream.uniform() < rate ? 3 : 50);
  return out;
}

RankResult result_of(std::vector<std::int32_t> ranks) {
  RankResult r;
  r.num_items = 100;
  r.ranks = std::move(ranks);
  r.ties.assign(r.ranks.size(), 0);
  r.targets.assign(r.ranks.size(), 4);
  for (std::size_t u = 0; u < r.ranks.size(); ++u) r.users.push_back(static_cast<std::int32_t>(u));
  return r;
}

TEST(Bootstrap, WidthIsThatOfTheBinomial) {
  const auto ranks = ranks_with_rate(4000, 0.1, 1);
  const auto interval = bootstrap_intervals(ranks, kHr10, {.resamples = 2000})[0];
  const double p = interval.value, error = std::sqrt(p * (1 - p) / 4000);
  EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 * error, 0.1 * 4 * error);
  EXPECT_LT(interval.low, p);
  EXPECT_GT(interval.high, p);
}

TEST(Bootstrap, CoversTheTruthAboutAsOftenAsItSays) {
  int covered = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const auto interval = bootstrap_intervals(ranks_with_rate(300, 0.3, 100 + trial), kHr10, {.resamples = 300})[0];
    covered += interval.low <= 0.3 && 0.3 <= interval.high;
  }
  EXPECT_GE(covered, 180);  // 95 % of 200 is 190, standard deviation 3
  EXPECT_LE(covered, 199);
}

TEST(Bootstrap, SameSeedSameInterval) {
  const auto ranks = ranks_with_rate(500, 0.2, 3);
  const auto a = bootstrap_intervals(ranks, kHr10, {.seed = 7})[0], b = bootstrap_intervals(ranks, kHr10, {.seed = 7})[0];
  const auto c = bootstrap_intervals(ranks, kHr10, {.seed = 8})[0];
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_TRUE(a.low != c.low || a.high != c.high);
}

TEST(Bootstrap, PairedDifferenceIsSharperThanTwoIntervals) {
  auto ranks = ranks_with_rate(3000, 0.1, 4);
  const RankResult a = result_of(ranks);
  for (std::size_t u = 0; u < ranks.size(); u += 100) ranks[u] = 1;  // better for a few users, worse for none
  const RankResult b = result_of(ranks);
  const auto d = paired_bootstrap(a, b, kHr10, {})[0];
  EXPECT_DOUBLE_EQ(d.b - d.a, d.b - mean_metric(kHr10[0], a.ranks));
  EXPECT_GT(d.low, 0);
  EXPECT_LE(d.low, d.b - d.a);
  EXPECT_GE(d.high, d.b - d.a);
  EXPECT_LE(d.p_value, 0.002);
  const auto alone = bootstrap_intervals(a.ranks, kHr10, {})[0];
  EXPECT_GT(alone.high, d.b);  // alone, the interval of a would hide the difference

  const auto none = paired_bootstrap(a, a, kHr10, {})[0];
  EXPECT_EQ(none.low, 0);
  EXPECT_EQ(none.high, 0);
  EXPECT_EQ(none.p_value, 1);
}

TEST(Bootstrap, RunsOfOtherTargetsAreRefused) {
  const RankResult a = result_of(ranks_with_rate(50, 0.1, 4));
  RankResult b = a;
  b.targets[3] = 5;
  EXPECT_THROW(paired_bootstrap(a, b, kHr10, {}), DataError);
  b = a;
  b.mask_seen = MaskSeen::kNone;
  EXPECT_THROW(paired_bootstrap(a, b, kHr10, {}), DataError);
  b = a;
  b.phase = data::Phase::kValid;
  EXPECT_THROW(paired_bootstrap(a, b, kHr10, {}), DataError);
}

}  // namespace
}  // namespace galrec::gal
