#pragma once
// HR@K, NDCG@K and MRR of one target per user, from the targets' ranks.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace galrec::gal {

enum class MetricKind { kHitRate, kNdcg, kMrr };

/// A metric and its cut-off, "HR@10". MRR has none (k = 0).
struct Metric {
  MetricKind kind = MetricKind::kNdcg;
  int k = 10;

  std::string name() const;
  /// "HR@10", "NDCG@5", "MRR"; UsageError with what was expected otherwise.
  static Metric parse(const std::string& name);
  friend bool operator==(const Metric&, const Metric&) = default;
};

/// What one user with its target at `rank` (from 1) contributes: HR 1 if rank <= K; NDCG 1 / log2(rank + 1) if
/// rank <= K (the ideal DCG of one target is 1); MRR 1 / rank.
double metric_value(const Metric& metric, std::int32_t rank);

/// The mean over users, added in order in double; 0 for no users.
double mean_metric(const Metric& metric, std::span<const std::int32_t> ranks);

/// HR and NDCG at every K, and MRR, over the same users.
struct MetricTable {
  std::vector<Metric> metrics;  ///< HR@k1, NDCG@k1, HR@k2, …, MRR
  std::vector<double> values;
  std::int64_t users = 0;

  /// CheckError for a metric that is not in the table.
  double at(const Metric& metric) const;
  double at(const std::string& name) const { return at(Metric::parse(name)); }
  /// {"HR@5": …, "NDCG@5": …, …, "MRR": …, "users": …}
  nlohmann::ordered_json to_json() const;
  /// "HR@5 0.0413  NDCG@5 0.0276 …"
  std::string to_text() const;
};

/// UsageError for an empty list or a K below 1.
MetricTable compute_metrics(std::span<const std::int32_t> ranks, std::span<const std::int64_t> ks);

}  // namespace galrec::gal
