#include "kernels/topk/topk.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "kernels/common/parallel.h"
#include "kernels/common/row_max.h"
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
  std::int32_t bad = 0;
#pragma omp simd reduction(| : bad)
  for (std::int64_t i = 0; i < n; ++i) bad |= row[i] != row[i];
  if (bad == 0) return;
  const auto first = std::find_if(row, row + n, [](T x) { return x != x; }) - row;
  throw NumericalError(fmt::format("the score of item {} for query {} is not a number", first, query));
}

// Calls body(query, scores, worker) for every query, with NaN, which no comparison prefers, for the items that are not
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
    parallel_for(ctx, scores.rows(), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
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
        body(query, static_cast<const T*>(row), worker);
      }
    });
  }
}

constexpr std::int64_t kGroup = 64;  // scores whose maximum decides whether they are looked at one by one

// What one thread selects with: the largest score of each group of a row, those again to be partitioned, and
// candidates.
template <class T>
struct SelectScratch {
  T *tops, *partitioned;
  std::int32_t* candidates;
};

// Writes the best k of row[0 .. v) in the order (score descending, index ascending); returns how many there are.
template <class T>
std::int64_t select_best(const T* row, std::int64_t v, std::int32_t* best, std::int64_t k, const SelectScratch<T>& s) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  const std::int64_t groups = (v + kGroup - 1) / kGroup;
  for (std::int64_t g = 0; g < groups; ++g) {
    s.tops[g] = row_max(row + g * kGroup, std::min(kGroup, v - g * kGroup), kLowest);
  }
  // The k-th largest of the groups' maxima: k scores are not below it, so neither is any of the best k.
  T bar = kLowest;
  if (k <= groups) {
    std::copy_n(s.tops, groups, s.partitioned);
    std::nth_element(s.partitioned, s.partitioned + (k - 1), s.partitioned + groups, std::greater<>());
    bar = s.partitioned[k - 1];
  }
  std::int64_t found = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    if (s.tops[g] < bar) continue;
    for (std::int64_t i = g * kGroup, end = std::min((g + 1) * kGroup, v); i < end; ++i) {
      if (row[i] >= bar) s.candidates[found++] = static_cast<std::int32_t>(i);
    }
  }
  const auto better = [row](std::int32_t a, std::int32_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); };
  const std::int64_t kept = std::min(found, k);
  std::partial_sort(s.candidates, s.candidates + kept, s.candidates + found, better);
  std::copy_n(s.candidates, kept, best);
  return kept;
}

}  // namespace

template <class T>
void top_k(CpuContext& ctx, View<std::int32_t, 2> indices, View<T, 2> scores, ConstView<T, 2> queries,
           ConstView<T, 2> items, ConstView<T, 1> bias, const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows(), k = indices.cols();
  GALREC_CHECK(indices.rows() == n && scores.rows() == n && scores.cols() == k,
               "indices ({}, {}), scores ({}, {}) for {} queries", indices.rows(), k, scores.rows(), scores.cols(), n);
  if (k == 0) return;
  const std::int64_t v = items.rows(), groups = (v + kGroup - 1) / kGroup;
  ScratchScope scratch(ctx.scratch());
  auto tops = scratch->matrix<T>(2 * ctx.threads(), groups);
  auto candidates = scratch->matrix<std::int32_t>(ctx.threads(), v);
  for_each_query<T>(ctx, queries, items, bias, excluded, {}, [&](std::int64_t q, const T* row, int worker) {
    std::int32_t* best = indices.row(q);
    T* out = scores.row(q);
    const SelectScratch<T> mine{tops.row(2 * worker), tops.row(2 * worker + 1), candidates.row(worker)};
    const std::int64_t found = select_best(row, v, best, k, mine);
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
  for_each_query<T>(ctx, queries, items, bias, excluded, targets, [&](std::int64_t q, const T* row, int) {
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
