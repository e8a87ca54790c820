#include "gal/evaluation/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/common/check.h"

namespace galrec::gal {

std::string Metric::name() const {
  switch (kind) {
    case MetricKind::kHitRate: return fmt::format("HR@{}", k);
    case MetricKind::kNdcg: return fmt::format("NDCG@{}", k);
    case MetricKind::kMrr: return "MRR";
  }
  throw CheckError("no such metric");
}

Metric Metric::parse(const std::string& name) {
  if (name == "MRR") return {MetricKind::kMrr, 0};
  const auto at = name.find('@');
  const std::string head = name.substr(0, at);
  int k = 0;
  const char* end = name.data() + name.size();
  const bool counted = at != std::string::npos && std::from_chars(name.data() + at + 1, end, k).ptr == end && k > 0;
  if (!counted || (head != "HR" && head != "NDCG"))
    throw UsageError(fmt::format("metric '{}': expected HR@K, NDCG@K or MRR", name));
  return {head == "HR" ? MetricKind::kHitRate : MetricKind::kNdcg, k};
}

double metric_value(const Metric& metric, std::int32_t rank) {
  GALREC_CHECK(rank >= 1, "rank {}", rank);
  if (metric.kind == MetricKind::kMrr) return 1.0 / rank;
  if (rank > metric.k) return 0;
  return metric.kind == MetricKind::kHitRate ? 1.0 : 1.0 / std::log2(rank + 1.0);
}

double mean_metric(const Metric& metric, std::span<const std::int32_t> ranks) {
  double sum = 0;
  for (const std::int32_t rank : ranks) sum += metric_value(metric, rank);
  return ranks.empty() ? 0 : sum / static_cast<double>(ranks.size());
}

double MetricTable::at(const Metric& metric) const {
  const auto found = std::find(metrics.begin(), metrics.end(), metric);
  GALREC_CHECK(found != metrics.end(), "{} was not computed", metric.name());
  return values[static_cast<std::size_t>(found - metrics.begin())];
}

nlohmann::ordered_json MetricTable::to_json() const {
  nlohmann::ordered_json out;
  for (std::size_t i = 0; i < metrics.size(); ++i) out[metrics[i].name()] = values[i];
  out["users"] = users;
  return out;
}

std::string MetricTable::to_text() const {
  std::string out;
  for (std::size_t i = 0; i < metrics.size(); ++i)
    out += fmt::format("{}{} {:.4f}", i ? "  " : "", metrics[i].name(), values[i]);
  return out;
}

MetricTable compute_metrics(std::span<const std::int32_t> ranks, std::span<const std::int64_t> ks) {
  if (ks.empty()) throw UsageError("eval.k: got an empty list, expected at least one K");
  MetricTable table;
  table.users = static_cast<std::int64_t>(ranks.size());
  for (const std::int64_t k : ks) {
    if (k < 1 || k > INT32_MAX) throw UsageError(fmt::format("eval.k: got {}, expected K of at least 1", k));
    table.metrics.push_back({MetricKind::kHitRate, static_cast<int>(k)});
    table.metrics.push_back({MetricKind::kNdcg, static_cast<int>(k)});
  }
  table.metrics.push_back({MetricKind::kMrr, 0});
  for (const Metric& metric : table.metrics) table.values.push_back(mean_metric(metric, ranks));
  return table;
}

}  // namespace galrec::gal
