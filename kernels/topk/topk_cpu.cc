#include "kernels/topk/topk.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/parallel.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

constexpr std::int64_t kQueryBlock = 64;  // queries whose scores are held at once

// Ranking wants the model's own order: rounding the factors to bf16 would make ties that are none.
class FullPrecision {
 public:
  explicit FullPrecision(CpuContext& ctx) : ctx_(ctx), previous_(ctx.gemm_precision()) {
    ctx_.set_gemm_precision(GemmPrecision::kFull);
  }
  ~FullPrecision() { ctx_.set_gemm_precision(previous_); }
  FullPrecision(const FullPrecision&) = delete;
  FullPrecision& operator=(const FullPrecision&) = delete;

 private:
  CpuContext& ctx_;
  GemmPrecision previous_;
};

void check_excluded(const ExcludedItems& excluded, std::int64_t queries, std::int64_t items) {
  if (!excluded.row_ptr) return;
  const auto& ptr = excluded.row_ptr;
  GALREC_CHECK(ptr.extent(0) == queries + 1, "{} offsets of excluded items for {} queries", ptr.extent(0), queries);
  GALREC_CHECK(ptr[0] >= 0 && ptr[queries] <= excluded.items.extent(0), "excluded items [{}, {}) of {}", ptr[0],
               ptr[queries], excluded.items.extent(0));
  for (std::int64_t n = 0; n < queries; ++n) {
    GALREC_CHECK(ptr[n] <= ptr[n + 1], "offsets of excluded items fall from {} to {} at query {}", ptr[n], ptr[n + 1],
                 n);
  }
  for (std::int64_t e = ptr[0]; e < ptr[queries]; ++e) {
    GALREC_CHECK(excluded.items[e] >= 0 && excluded.items[e] < items, "excluded item {} of {}", excluded.items[e],
                 items);
  }
}

template <class T>
void check_numbers(const T* row, std::int64_t n, std::int64_t query) {
  std::int64_t bad = 0;
#pragma omp simd reduction(+ : bad)
  for (std::int64_t i = 0; i < n; ++i) bad += row[i] != row[i];
  if (bad == 0) return;
  const auto first = std::find_if(row, row + n, [](T x) { return x != x; }) - row;
  throw NumericalError(fmt::format("the score of item {} for query {} is not a number", first, query));
}

// Calls body(query, scores) for every query, with NaN, which no comparison prefers, for the items that are not
// candidates.
template <class T, class Body>
void for_each_query(CpuContext& ctx, View<const T, 2> queries, View<const T, 2> items, View<const T, 1> bias,
                    const ExcludedItems& excluded, View<const std::int32_t, 1> targets, Body&& body) {
  const std::int64_t n = queries.rows(), v = items.rows();
  GALREC_CHECK(queries.cols() == items.cols(), "queries have {} columns, items {}", queries.cols(), items.cols());
  GALREC_CHECK(v <= std::numeric_limits<std::int32_t>::max(), "{} items", v);
  GALREC_CHECK(!bias || bias.extent(0) == v, "bias ({}) for {} items", bias.extent(0), v);
  check_excluded(excluded, n, v);
  const FullPrecision full(ctx);
  ScratchScope scratch(ctx.scratch());
  auto block = scratch->matrix<T>(std::min(kQueryBlock, n), v);
  for (std::int64_t first = 0; first < n; first += kQueryBlock) {
    const auto scores = block.slice_rows(0, std::min(kQueryBlock, n - first));
    gemm(ctx, scores, queries.slice_rows(first, scores.rows()), items, {.b = Transpose::kYes});
    if (bias) add_bias(ctx, scores, bias);
    parallel_for(ctx, scores.rows(), 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* row = scores.row(r);
        const std::int64_t query = first + r;
        check_numbers(row, v, query);
        const T own = targets ? row[targets[query]] : T(0);
        if (excluded.row_ptr) {
          for (std::int64_t e = excluded.row_ptr[query]; e < excluded.row_ptr[query + 1]; ++e) {
            row[excluded.items[e]] = std::numeric_limits<T>::quiet_NaN();
          }
        }
        if (targets) row[targets[query]] = own;  // the target always is a candidate
        body(query, static_cast<const T*>(row));
      }
    });
  }
}

// Whether any of row[0 .. n) is above the bar: one vectorised pass instead of n branches.
template <class T>
bool any_above(const T* row, std::int64_t n, T bar) {
  std::int32_t above = 0;
#pragma omp simd reduction(| : above)
  for (std::int64_t i = 0; i < n; ++i) above |= row[i] > bar;
  return above != 0;
}

// The best k of row[0 .. v) in the order (score descending, index ascending); returns how many there are.
template <class T>
std::int64_t select_best(const T* row, std::int64_t v, std::int32_t* best, std::int64_t k) {
  const auto better = [row](std::int32_t a, std::int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); };
  // A heap of the best so far with the worst on top. Items come in ascending order, so one that ties with the worst
  // loses against it: once the heap is full, only a score above the worst one's matters.
  std::int64_t size = 0, i = 0;
  for (; i < v && size < k; ++i) {
    if (row[i] != row[i]) continue;
    best[size++] = static_cast<std::int32_t>(i);
    std::push_heap(best, best + size, better);
  }
  constexpr std::int64_t kStep = 256;
  for (std::int64_t step = i; step < v && k > 0; step += kStep) {
    const std::int64_t end = std::min(step + kStep, v);
    if (!any_above(row + step, end - step, row[best[0]])) continue;
    for (std::int64_t j = step; j < end; ++j) {
      if (!(row[j] > row[best[0]])) continue;
      std::pop_heap(best, best + k, better);
      best[k - 1] = static_cast<std::int32_t>(j);
      std::push_heap(best, best + k, better);
    }
  }
  std::sort_heap(best, best + size, better);
  return size;
}

}  // namespace

template <class T>
void top_k(CpuContext& ctx, View<std::int32_t, 2> indices, View<T, 2> scores, ConstView<T, 2> queries,
           ConstView<T, 2> items, ConstView<T, 1> bias, const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows(), k = indices.cols();
  GALREC_CHECK(indices.rows() == n && scores.rows() == n && scores.cols() == k,
               "indices ({}, {}), scores ({}, {}) for {} queries", indices.rows(), k, scores.rows(), scores.cols(), n);
  for_each_query<T>(ctx, queries, items, bias, excluded, {}, [&](std::int64_t q, const T* row) {
    std::int32_t* best = indices.row(q);
    T* out = scores.row(q);
    const std::int64_t found = select_best(row, items.rows(), best, k);
    for (std::int64_t j = 0; j < found; ++j) out[j] = row[best[j]];
    std::fill(best + found, best + k, -1);
    std::fill(out + found, out + k, -std::numeric_limits<T>::infinity());
  });
}

template <class T>
void target_rank(CpuContext& ctx, View<std::int32_t, 1> ranks, View<std::int32_t, 1> ties, View<T, 1> target_score,
                 ConstView<T, 2> queries, ConstView<T, 2> items, ConstView<T, 1> bias,
                 View<const std::int32_t, 1> targets, const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows(), v = items.rows();
  GALREC_CHECK(ranks.extent(0) == n && ties.extent(0) == n && target_score.extent(0) == n && targets.extent(0) == n,
               "ranks ({}), ties ({}), target_score ({}), targets ({}) for {} queries", ranks.extent(0), ties.extent(0),
               target_score.extent(0), targets.extent(0), n);
  for (std::int64_t q = 0; q < n; ++q) {
    GALREC_CHECK(targets[q] >= 0 && targets[q] < v, "target {} of query {} is not one of {} items", targets[q], q, v);
  }
  for_each_query<T>(ctx, queries, items, bias, excluded, targets, [&](std::int64_t q, const T* row) {
    const T mine = row[targets[q]];
    std::int32_t above = 0, equal = 0;
#pragma omp simd reduction(+ : above, equal)
    for (std::int64_t i = 0; i < v; ++i) {
      above += row[i] > mine;
      equal += row[i] == mine;
    }
    ties[q] = equal - 1;
    ranks[q] = above + equal;
    target_score[q] = mine;
  });
}

#define GALREC_INSTANTIATE(T)                                                                                          \
  template void top_k<T>(CpuContext&, View<std::int32_t, 2>, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>,             \
                         ConstView<T, 1>, const ExcludedItems&);                                                       \
  template void target_rank<T>(CpuContext&, View<std::int32_t, 1>, View<std::int32_t, 1>, View<T, 1>, ConstView<T, 2>, \
                               ConstView<T, 2>, ConstView<T, 1>, View<const std::int32_t, 1>, const ExcludedItems&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
