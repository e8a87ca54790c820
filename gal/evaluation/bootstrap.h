#pragma once
// How far a metric is from what other users of the same kind would have given: percentile bootstrap over users, alone
// and paired between two runs. Resamples are Philox draws, so the intervals are reproducible.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gal/evaluation/metrics.h"
#include "gal/evaluation/ranking.h"

namespace galrec::gal {

struct BootstrapOptions {
  std::int64_t resamples = 1000;
  double confidence = 0.95;
  std::uint64_t seed = 1;
};

struct Interval {
  Metric metric;
  double value = 0;  ///< of the users themselves
  double low = 0;
  double high = 0;
};

/// The percentile interval of each metric's mean over users. The same resamples serve all metrics.
std::vector<Interval> bootstrap_intervals(std::span<const std::int32_t> ranks, std::span<const Metric> metrics,
                                          const BootstrapOptions& options);

/// Difference b - a of one metric over the same users.
struct PairedDifference {
  Metric metric;
  double a = 0;
  double b = 0;
  double low = 0;   ///< interval of b - a
  double high = 0;
  double p_value = 1;  ///< two-sided, of no difference: 2 min(share of resamples <= 0, share >= 0), at least 1/resamples
};

/// DataError where the two do not rank the same targets of the same users under the same mask.
std::vector<PairedDifference> paired_bootstrap(const RankResult& a, const RankResult& b, std::span<const Metric> metrics,
                                               const BootstrapOptions& options);

}  // namespace galrec::gal
