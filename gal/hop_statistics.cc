#include "gal/hop_statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/common/check.h"

namespace galrec::gal {

namespace {

/// Copies rows k, k + step, ... scaled to length 1, in double.
template <class T>
std::vector<double> unit_rows(View<const T, 2> x, std::int64_t first, std::int64_t step) {
  std::vector<double> out;
  for (std::int64_t r = first; r < x.rows(); r += step) {
    double norm = 0;
    for (std::int64_t c = 0; c < x.cols(); ++c) norm += static_cast<double>(x(r, c)) * static_cast<double>(x(r, c));
    norm = std::max(std::sqrt(norm), 1e-12);
    for (std::int64_t c = 0; c < x.cols(); ++c) out.push_back(static_cast<double>(x(r, c)) / norm);
  }
  return out;
}

double uniformity_of(const std::vector<double>& rows, std::int64_t d) {
  const std::int64_t n = static_cast<std::int64_t>(rows.size()) / d;
  if (n < 2) return 0;
  double sum = 0;
  for (std::int64_t a = 0; a < n; ++a) {
    for (std::int64_t b = a + 1; b < n; ++b) {
      double dot = 0;
      for (std::int64_t c = 0; c < d; ++c)
        dot += rows[static_cast<std::size_t>(a * d + c)] * rows[static_cast<std::size_t>(b * d + c)];
      sum += std::exp(-2 * (2 - 2 * dot));  // |x - y|^2 = 2 - 2 x.y for unit vectors
    }
  }
  return std::log(2 * sum / (static_cast<double>(n) * static_cast<double>(n - 1)));
}

struct PairRates {
  double own = 0, neighbours = 0;
};

/// Over all (anchor, queue row) pairs: the share with the anchor's own id, and among the others the share of nodes two
/// steps away from the anchor: forth along `out`, back along `back`.
PairRates pair_rates(std::span<const std::int32_t> anchors, std::span<const std::int32_t> queue, const Csr& out,
                     const Csr& back) {
  std::vector<std::int32_t> stamp(static_cast<std::size_t>(out.rows), -1);
  std::int64_t own = 0, others = 0, near = 0;
  for (std::size_t a = 0; a < anchors.size(); ++a) {
    const std::int32_t id = anchors[a];
    if (id < 0) continue;
    const auto mark = static_cast<std::int32_t>(a);
    for (auto k = out.row_ptr[static_cast<std::size_t>(id)]; k < out.row_ptr[static_cast<std::size_t>(id) + 1]; ++k) {
      const auto middle = static_cast<std::size_t>(out.col_idx[static_cast<std::size_t>(k)]);
      for (auto j = back.row_ptr[middle]; j < back.row_ptr[middle + 1]; ++j) {
        stamp[static_cast<std::size_t>(back.col_idx[static_cast<std::size_t>(j)])] = mark;
      }
    }
    for (const std::int32_t other : queue) {
      if (other == id) {
        ++own;
      } else {
        ++others;
        near += other >= 0 && stamp[static_cast<std::size_t>(other)] == mark;
      }
    }
  }
  PairRates rates;
  if (own + others > 0) rates.own = static_cast<double>(own) / static_cast<double>(own + others);
  if (others > 0) rates.neighbours = static_cast<double>(near) / static_cast<double>(others);
  return rates;
}

}  // namespace

template <class T>
double uniformity(View<const T, 2> rows) {
  return uniformity_of(unit_rows(rows, 0, 1), rows.cols());
}

template <class T>
HopStatistics hop_statistics(View<const T, 2> embeddings, const NegativeQueues<T>& queues, const HopBatch& batch,
                             const HopSampler& graph) {
  GALREC_CHECK(batch.hops == HopSet::kAll && embeddings, "hop statistics need the prompts of all hops");
  HopStatistics s;
  const std::int64_t d = embeddings.cols();
  std::array<std::vector<double>, data::kHops> hops;
  for (std::size_t h = 0; h < data::kHops; ++h) {
    hops[h] = unit_rows(embeddings, static_cast<std::int64_t>(h), data::kHops);
    s.uniformity[h] = uniformity_of(hops[h], d);
  }
  for (int k = 0; k < kTerms; ++k) {
    const auto views = term_views(static_cast<Term>(k), L1Anchor::kHop2);
    const auto& a = hops[static_cast<std::size_t>(views.anchor)];
    const auto& p = hops[static_cast<std::size_t>(views.positive)];
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * p[i];
    s.alignment[static_cast<std::size_t>(k)] = sum / batch.samples;
  }
  s.queue_fill = static_cast<double>(queues.count()) / static_cast<double>(queues.capacity());
  s.queue_age = queues.mean_age();
  const auto users = pair_rates(batch.user, queues.host_ids(Queue::kU0), graph.items_of_user(), graph.users_of_item());
  const auto items = pair_rates(batch.item, queues.host_ids(Queue::kI0), graph.users_of_item(), graph.items_of_user());
  s.own_id_rate = users.own;
  s.user_neighbour_rate = users.neighbours;
  s.item_neighbour_rate = items.neighbours;
  return s;
}

#define INSTANTIATE(T)                          \
  template double uniformity(View<const T, 2>); \
  template HopStatistics hop_statistics(View<const T, 2>, const NegativeQueues<T>&, const HopBatch&, const HopSampler&);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::gal
