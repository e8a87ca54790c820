#include "gal/evaluation/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::gal {
namespace {

constexpr std::uint32_t kStream = 0xB0075;

// Means of resampled users: out[m * resamples + r] of metric m in resample r. values[m] holds one value per user.
std::vector<double> resampled_means(const std::vector<std::vector<double>>& values, const BootstrapOptions& options) {
  GALREC_CHECK(options.resamples >= 1 && options.confidence > 0 && options.confidence < 1, "{} resamples, confidence {}",
               options.resamples, options.confidence);
  const std::size_t users = values.empty() ? 0 : values[0].size();
  const auto resamples = static_cast<std::size_t>(options.resamples);
  std::vector<double> out(values.size() * resamples, 0.0);
  std::vector<std::uint32_t> drawn(users);
  for (std::size_t r = 0; r < resamples; ++r) {
    PhiloxStream stream({.seed = options.seed, .step = static_cast<std::uint32_t>(r), .stream = kStream});
    for (auto& u : drawn) u = static_cast<std::uint32_t>(stream.below(users));
    for (std::size_t m = 0; m < values.size(); ++m) {
      double sum = 0;
      for (const std::uint32_t u : drawn) sum += values[m][u];
      out[m * resamples + r] = users == 0 ? 0 : sum / static_cast<double>(users);
    }
  }
  return out;
}

// The q quantile of sorted values, between its two neighbours linearly.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(std::floor(at));
  const auto high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

std::vector<double> sorted_slice(const std::vector<double>& means, std::size_t metric, std::int64_t resamples) {
  const auto first = means.begin() + static_cast<std::ptrdiff_t>(metric) * resamples;
  std::vector<double> out(first, first + resamples);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<double> values_of(const Metric& metric, std::span<const std::int32_t> ranks) {
  std::vector<double> out;
  out.reserve(ranks.size());
  for (const std::int32_t rank : ranks) out.push_back(metric_value(metric, rank));
  return out;
}

}  // namespace

std::vector<Interval> bootstrap_intervals(std::span<const std::int32_t> ranks, std::span<const Metric> metrics,
                                          const BootstrapOptions& options) {
  std::vector<std::vector<double>> values;
  for (const Metric& metric : metrics) values.push_back(values_of(metric, ranks));
  const auto means = resampled_means(values, options);
  const double tail = (1 - options.confidence) / 2;
  std::vector<Interval> out;
  for (std::size_t m = 0; m < metrics.size(); ++m) {
    const auto sorted = sorted_slice(means, m, options.resamples);
    out.push_back({metrics[m], mean_metric(metrics[m], ranks), quantile(sorted, tail), quantile(sorted, 1 - tail)});
  }
  return out;
}

std::vector<PairedDifference> paired_bootstrap(const RankResult& a, const RankResult& b, std::span<const Metric> metrics,
                                               const BootstrapOptions& options) {
  if (a.phase != b.phase) throw DataError("paired comparison: one run ranks validation targets, the other test targets");
  if (a.mask_seen != b.mask_seen)
    throw DataError(fmt::format("paired comparison: eval.mask_seen is {} in one run and {} in the other", mask_seen_name(a.mask_seen),
                                mask_seen_name(b.mask_seen)));
  if (a.users != b.users || a.targets != b.targets || a.num_items != b.num_items)
    throw DataError(fmt::format("paired comparison: the runs rank different targets ({} users, {} items; {} users, {} items)",
                                a.users.size(), a.num_items, b.users.size(), b.num_items));
  std::vector<std::vector<double>> values;
  for (const Metric& metric : metrics) {
    auto difference = values_of(metric, b.ranks);
    const auto base = values_of(metric, a.ranks);
    for (std::size_t u = 0; u < base.size(); ++u) difference[u] -= base[u];
    values.push_back(std::move(difference));
  }
  const auto means = resampled_means(values, options);
  const double tail = (1 - options.confidence) / 2, resamples = static_cast<double>(options.resamples);
  std::vector<PairedDifference> out;
  for (std::size_t m = 0; m < metrics.size(); ++m) {
    const auto sorted = sorted_slice(means, m, options.resamples);
    const auto not_above = static_cast<double>(std::upper_bound(sorted.begin(), sorted.end(), 0.0) - sorted.begin());
    const auto not_below = static_cast<double>(sorted.end() - std::lower_bound(sorted.begin(), sorted.end(), 0.0));
    const double share = std::max(std::min(not_above, not_below), 0.5) / resamples;
    out.push_back({metrics[m], mean_metric(metrics[m], a.ranks), mean_metric(metrics[m], b.ranks), quantile(sorted, tail),
                   quantile(sorted, 1 - tail), std::min(1.0, 2 * share)});
  }
  return out;
}

}  // namespace galrec::gal
