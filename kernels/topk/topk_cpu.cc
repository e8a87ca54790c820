#include "kernels/topk/topk.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/parallel.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

constexpr std::int64_t kQueryBlock = 64;  // queries whose scores are held at once

// Calls body(query, scores) for every query; excluded items hold -inf. The row may be changed.
template <class T, class Body>
void for_each_query(CpuContext& ctx, View<const T, 2> queries, View<const T, 2> items, View<const T, 1> bias, const ExcludedItems& excluded,
                    View<const std::int32_t, 1> targets, Body&& body) {
  const std::int64_t n = queries.rows(), v = items.rows();
  GALREC_CHECK(queries.cols() == items.cols(), "queries have {} columns, items {}", queries.cols(), items.cols());
  GALREC_CHECK(!bias || bias.extent(0) == v, "bias ({}) for {} items", bias.extent(0), v);
  GALREC_CHECK(!excluded.row_ptr || (excluded.row_ptr.extent(0) == n + 1 && excluded.row_ptr[n] <= excluded.items.extent(0)), "{} offsets of excluded items for {} queries",
               excluded.row_ptr.extent(0), n);
  for (std::int64_t e = 0; excluded.row_ptr && e < excluded.row_ptr[n]; ++e)
    GALREC_CHECK(excluded.items[e] >= 0 && excluded.items[e] < v, "excluded item {} of {}", excluded.items[e], v);
  ScratchScope scratch(ctx.scratch());
  auto block = scratch->matrix<T>(std::min(kQueryBlock, n), v);
  for (std::int64_t first = 0; first < n; first += kQueryBlock) {
    const auto scores = block.slice_rows(0, std::min(kQueryBlock, n - first));
    gemm(ctx, scores, queries.slice_rows(first, scores.rows()), items, {.b = Transpose::kYes});
    if (bias) add_bias(ctx, scores, bias);
    parallel_for(ctx, scores.rows(), 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* row = scores.row(r);
        for (std::int64_t i = 0; i < v; ++i)
          if (row[i] != row[i]) throw NumericalError(fmt::format("the score of item {} for query {} is not a number", i, first + r));
        const T target = targets ? row[targets[first + r]] : T(0);
        if (excluded.row_ptr)
          for (std::int64_t e = excluded.row_ptr[first + r]; e < excluded.row_ptr[first + r + 1]; ++e) row[excluded.items[e]] = -std::numeric_limits<T>::infinity();
        if (targets) row[targets[first + r]] = target;  // the target always is a candidate
        body(first + r, row);
      }
    });
  }
}

// Marks excluded items apart from candidates that score -inf themselves.
template <class T>
bool is_excluded(const ExcludedItems& excluded, std::int64_t n, std::int32_t item) {
  if (!excluded.row_ptr) return false;
  const auto* begin = excluded.items.data + excluded.row_ptr[n];
  const auto* end = excluded.items.data + excluded.row_ptr[n + 1];
  return std::find(begin, end, item) != end;
}

}  // namespace

template <class T>
void top_k(CpuContext& ctx, View<std::int32_t, 2> indices, View<T, 2> scores, ConstView<T, 2> queries, ConstView<T, 2> items, ConstView<T, 1> bias,
           const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows(), v = items.rows(), k = indices.cols();
  GALREC_CHECK(indices.rows() == n && scores.rows() == n && scores.cols() == k, "indices ({}, {}), scores ({}, {}) for {} queries", indices.rows(), k, scores.rows(), scores.cols(), n);
  for_each_query<T>(ctx, queries, items, bias, excluded, {}, [&](std::int64_t q, T* row) {
    // A heap of the k best so far, the worst on top: (score descending, index ascending) is the order.
    std::int32_t* best = indices.row(q);
    std::int64_t size = 0;
    const auto better = [row](std::int32_t a, std::int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); };
    for (std::int32_t i = 0; i < v; ++i) {
      if (row[i] == -std::numeric_limits<T>::infinity() && is_excluded<T>(excluded, q, i)) continue;
      if (size < k) {
        best[size++] = i;
        std::push_heap(best, best + size, better);
      } else if (k > 0 && better(i, best[0])) {
        std::pop_heap(best, best + k, better);
        best[k - 1] = i;
        std::push_heap(best, best + k, better);
      }
    }
    std::sort_heap(best, best + size, better);
    for (std::int64_t j = 0; j < k; ++j) {
      if (j >= size) best[j] = -1;
      scores(q, j) = j < size ? row[best[j]] : -std::numeric_limits<T>::infinity();
    }
  });
}

template <class T>
void target_rank(CpuContext& ctx, View<std::int32_t, 1> ranks, View<std::int32_t, 1> ties, View<T, 1> target_score, ConstView<T, 2> queries,
                 ConstView<T, 2> items, ConstView<T, 1> bias, View<const std::int32_t, 1> targets, const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows(), v = items.rows();
  GALREC_CHECK(ranks.extent(0) == n && ties.extent(0) == n && target_score.extent(0) == n && targets.extent(0) == n, "outputs and targets for {} queries", n);
  for (std::int64_t q = 0; q < n; ++q) GALREC_CHECK(targets[q] >= 0 && targets[q] < v, "target {} of {} items", targets[q], v);
  for_each_query<T>(ctx, queries, items, bias, excluded, targets, [&](std::int64_t q, T* row) {
    const T mine = row[targets[q]];
    std::int32_t above = 0, equal = 0;
#pragma omp simd reduction(+ : above, equal)
    for (std::int64_t i = 0; i < v; ++i) {
      above += row[i] > mine;
      equal += row[i] == mine;
    }
    // Where the target itself scores -inf, excluded items are no competitors.
    if (mine == -std::numeric_limits<T>::infinity() && excluded.row_ptr) {
      for (std::int64_t e = excluded.row_ptr[q]; e < excluded.row_ptr[q + 1]; ++e) equal -= excluded.items[e] != targets[q];
    }
    ties[q] = equal - 1;
    ranks[q] = above + equal;
    target_score[q] = mine;
  });
}

#define GALREC_INSTANTIATE(T)                                                                                                            \
  template void top_k<T>(CpuContext&, View<std::int32_t, 2>, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>,              \
                         const ExcludedItems&);                                                                                          \
  template void target_rank<T>(CpuContext&, View<std::int32_t, 1>, View<std::int32_t, 1>, View<T, 1>, ConstView<T, 2>, ConstView<T, 2>,  \
                               ConstView<T, 1>, View<const std::int32_t, 1>, const ExcludedItems&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
