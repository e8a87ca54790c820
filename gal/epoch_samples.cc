#include "gal/epoch_samples.h"

#include <algorithm>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::gal {

namespace {

constexpr std::uint32_t kStreamCut = 0x67000020u, kStreamShuffle = 0x67000021u, kStreamWalk = 0x67000022u;
constexpr int kWalkTries = 8;  // walks that may end at a used-up user before the group takes a new start

std::vector<TrainSample> unit_samples(const data::Split& split, SampleUnit unit, std::uint64_t seed,
                                      std::uint32_t epoch) {
  std::vector<TrainSample> samples;
  samples.reserve(static_cast<std::size_t>(epoch_size(split, unit)));
  for (data::UserId u = 0; u < split.dataset().num_users(); ++u) {
    const auto n = static_cast<std::int32_t>(split.train(u).size());
    if (n < 2) continue;
    switch (unit) {
      case SampleUnit::kPrefix:
        for (std::int32_t cut = 1; cut < n; ++cut) samples.push_back({u, cut});
        break;
      case SampleUnit::kCut: {
        PhiloxStream stream({.seed = seed, .step = epoch, .stream = kStreamCut}, static_cast<std::uint64_t>(u));
        samples.push_back({u, 1 + static_cast<std::int32_t>(stream.below(static_cast<std::uint64_t>(n - 1)))});
        break;
      }
      case SampleUnit::kLast:
        samples.push_back({u, n - 1});
        break;
    }
  }
  return samples;
}

void shuffle(std::vector<TrainSample>& samples, std::uint64_t seed, std::uint32_t epoch) {
  PhiloxStream stream({.seed = seed, .step = epoch, .stream = kStreamShuffle});
  for (std::size_t i = samples.size(); i > 1; --i) std::swap(samples[i - 1], samples[stream.below(i)]);
}

/// Takes samples in shuffled order, but fills each group with users found by walks from its first one.
std::vector<TrainSample> gather_neighbours(const std::vector<TrainSample>& shuffled, const HopSampler& graph,
                                           std::uint64_t seed, std::uint32_t epoch, std::int32_t group) {
  const Csr& items_of = graph.items_of_user();
  const Csr& users_of = graph.users_of_item();
  std::vector<std::vector<std::int32_t>> waiting(static_cast<std::size_t>(items_of.rows));  // of each user, last first
  for (std::size_t i = shuffled.size(); i-- > 0;)
    waiting[static_cast<std::size_t>(shuffled[i].user)].push_back(static_cast<std::int32_t>(i));
  std::vector<bool> taken(shuffled.size(), false);
  std::vector<TrainSample> ordered;
  ordered.reserve(shuffled.size());
  const auto take = [&](std::int32_t i) {
    taken[static_cast<std::size_t>(i)] = true;
    ordered.push_back(shuffled[static_cast<std::size_t>(i)]);
  };
  const auto take_of_user = [&](std::int32_t user) {
    auto& list = waiting[static_cast<std::size_t>(user)];
    while (!list.empty() && taken[static_cast<std::size_t>(list.back())]) list.pop_back();
    if (list.empty()) return false;
    take(list.back());
    return true;
  };
  PhiloxStream stream({.seed = seed, .step = epoch, .stream = kStreamWalk});
  const auto neighbour = [&](const Csr& csr, std::int32_t row) {
    return csr.col_idx[static_cast<std::size_t>(csr.row_ptr[static_cast<std::size_t>(row)]) +
                       stream.below(static_cast<std::uint64_t>(csr.degree(row)))];
  };
  std::size_t next = 0;
  while (ordered.size() < shuffled.size()) {
    while (taken[next]) ++next;
    const std::int32_t start = shuffled[next].user;
    take(static_cast<std::int32_t>(next));
    const std::size_t end = std::min(
        shuffled.size(), (ordered.size() - 1) / static_cast<std::size_t>(group) * static_cast<std::size_t>(group) +
                             static_cast<std::size_t>(group));
    for (int tries = 0; ordered.size() < end && tries < kWalkTries;) {
      const std::int32_t user = neighbour(users_of, neighbour(items_of, start));
      tries = user != start && take_of_user(user) ? 0 : tries + 1;
    }
  }
  return ordered;
}

}  // namespace

std::int64_t epoch_size(const data::Split& split, SampleUnit unit) {
  std::int64_t size = 0;
  for (data::UserId u = 0; u < split.dataset().num_users(); ++u) {
    const auto n = static_cast<std::int64_t>(split.train(u).size());
    if (n >= 2) size += unit == SampleUnit::kPrefix ? n - 1 : 1;
  }
  return size;
}

std::vector<TrainSample> epoch_samples(const data::Split& split, const HopSampler& graph,
                                       const SamplingOptions& options, std::uint64_t seed, std::uint32_t epoch,
                                       std::int32_t group) {
  GALREC_CHECK(group >= 1, "groups of {}", group);
  auto samples = unit_samples(split, options.unit, seed, epoch);
  shuffle(samples, seed, epoch);
  if (options.order == SampleOrder::kNeighbours) return gather_neighbours(samples, graph, seed, epoch, group);
  return samples;
}

}  // namespace galrec::gal
