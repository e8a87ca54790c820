#include "kernels/info_nce/info_nce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/parallel.h"
#include "kernels/common/row_max.h"
#include "kernels/common/vec_math.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

constexpr std::int64_t kAnchorBlock = 32;  // anchors that share a pass over the queue, on one thread
constexpr std::int64_t kQueueTile = 512;   // queue rows whose scores are held at once

template <class T>
struct Problem {
  View<const T, 2> anchor, positive, queue;
  View<const std::int32_t, 1> queue_ids, own_ids;
  double tau;

  std::int64_t queue_rows() const { return queue ? queue.rows() : 0; }
  std::int64_t tile_rows() const { return std::clamp<std::int64_t>(queue_rows(), 1, kQueueTile); }

  void check() const {
    const std::int64_t n = anchor.rows(), c = anchor.cols(), q = queue_rows();
    GALREC_CHECK(n > 0, "no anchors");
    GALREC_CHECK(tau > 0 && std::isfinite(tau), "the temperature {} is not positive", tau);
    GALREC_CHECK(positive.rows() == n && positive.cols() == c, "positive is ({}, {}), expected ({}, {})",
                 positive.rows(), positive.cols(), n, c);
    GALREC_CHECK(q == 0 || queue.cols() == c, "the queue has {} columns, expected {}", queue.cols(), c);
    GALREC_CHECK(queue_ids.extent(0) == q && own_ids.extent(0) == n,
                 "{} queue ids for {} rows, {} own ids for {} anchors", queue_ids.extent(0), q, own_ids.extent(0), n);
  }

  T positive_score(std::int64_t n) const {
    const T *a = anchor.row(n), *b = positive.row(n);
    T dot = 0;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t i = 0; i < anchor.cols(); ++i) dot += a[i] * b[i];
    return dot * static_cast<T>(1 / tau);
  }

  // Scores of anchors [first, first + z.rows()) against queue rows from `tile` on, -inf where the ids are equal.
  void scores(View<T, 2> z, std::int64_t first, std::int64_t tile) const {
    const GemmOptions options{.b = Transpose::kYes, .alpha = 1 / tau};
    gemm_serial(z, anchor.slice_rows(first, z.rows()), queue.slice_rows(tile, z.cols()), options);
    const std::int32_t* ids = queue_ids.data + tile;
    for (std::int64_t r = 0; r < z.rows(); ++r) {
      T* __restrict row = z.row(r);
      const std::int32_t own = own_ids[first + r];
#pragma omp simd
      for (std::int64_t q = 0; q < z.cols(); ++q) row[q] = ids[q] == own ? -std::numeric_limits<T>::infinity() : row[q];
    }
  }
};

// The negatives of one anchor so far: their largest score and sum_q exp(s_q - top).
template <class T>
struct Negatives {
  T top = -std::numeric_limits<T>::infinity();
  T sum = 0;

  void add(const T* scores, std::int64_t n) {
    const T largest = row_max(scores, n, top);
    // A NaN or +inf score must reach the sum; with all of them masked there is nothing to add.
    const T shift = std::isinf(largest) && largest < 0 ? T(0) : largest;
    T added = 0;
#pragma omp simd reduction(+ : added)
    for (std::int64_t i = 0; i < n; ++i) added += vec::exp(scores[i] - shift);
    sum = (sum > 0 ? sum * vec::exp(top - shift) : sum) + added;
    top = largest;
  }
};

}  // namespace

template <class T>
void info_nce_forward(CpuContext& ctx, View<T, 1> loss, View<T, 1> losses, View<T, 1> lse, View<T, 1> positive_score,
                      View<T, 1> hardest, ConstView<T, 2> anchor, ConstView<T, 2> positive, ConstView<T, 2> queue,
                      View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids, double tau) {
  const Problem<T> p{anchor, positive, queue, queue_ids, own_ids, tau};
  p.check();
  const std::int64_t n = anchor.rows(), rows = p.queue_rows(), tile_rows = p.tile_rows();
  GALREC_CHECK(loss.extent(0) == 1, "loss ({})", loss.extent(0));
  for (const auto& out : {losses, lse, positive_score, hardest}) {
    GALREC_CHECK(out.extent(0) == n, "an output has {} elements, expected {}", out.extent(0), n);
  }
  ScratchScope scratch(ctx.scratch());
  auto work = scratch->matrix<T>(ctx.threads(), kAnchorBlock * tile_rows);
  parallel_for(ctx, n, kAnchorBlock, [&](std::int64_t begin, std::int64_t end, int worker) {
    Negatives<T> negatives[kAnchorBlock];
    for (std::int64_t tile = 0; tile < rows; tile += tile_rows) {
      const View<T, 2> z(work.row(worker), {end - begin, std::min(tile_rows, rows - tile)});
      p.scores(z, begin, tile);
      for (std::int64_t r = 0; r < z.rows(); ++r) negatives[r].add(z.row(r), z.cols());
    }
    for (std::int64_t r = begin; r < end; ++r) {
      const T s = p.positive_score(r);
      const auto [top, sum] = negatives[r - begin];
      // Measured from the positive where that is the largest score: small losses keep their relative accuracy.
      const T own =
          top > s ? (top - s) + std::log(sum + vec::exp(s - top)) : std::log1p(sum > 0 ? sum * vec::exp(top - s) : sum);
      losses[r] = own;
      lse[r] = s + own;
      positive_score[r] = s;
      hardest[r] = top;
    }
  });
  double total = 0;
  for (std::int64_t r = 0; r < n; ++r) total += static_cast<double>(losses[r]);
  loss[0] = static_cast<T>(total / static_cast<double>(n));
}

template <class T>
void info_nce_backward(CpuContext& ctx, View<T, 2> danchor, View<T, 2> dpositive, ConstView<T, 1> dloss, ConstView<T, 2> anchor,
                       ConstView<T, 2> positive, ConstView<T, 2> queue, View<const std::int32_t, 1> queue_ids,
                       View<const std::int32_t, 1> own_ids, ConstView<T, 1> lse, double tau,
                       Accumulate danchor_accumulate, Accumulate dpositive_accumulate) {
  const Problem<T> p{anchor, positive, queue, queue_ids, own_ids, tau};
  p.check();
  const std::int64_t n = anchor.rows(), c = anchor.cols(), rows = p.queue_rows(), tile_rows = p.tile_rows();
  GALREC_CHECK(danchor.rows() == n && danchor.cols() == c, "danchor is ({}, {}), expected ({}, {})", danchor.rows(),
               danchor.cols(), n, c);
  GALREC_CHECK(!dpositive || (dpositive.rows() == n && dpositive.cols() == c),
               "dpositive is ({}, {}), expected ({}, {})", dpositive.rows(), dpositive.cols(), n, c);
  GALREC_CHECK(lse.extent(0) == n, "lse ({}) for {} anchors", lse.extent(0), n);
  GALREC_CHECK(dloss.extent(0) == 1, "dloss ({})", dloss.extent(0));
  ScratchScope scratch(ctx.scratch());
  auto work = scratch->matrix<T>(ctx.threads(), kAnchorBlock * tile_rows);
  const T g = static_cast<T>(static_cast<double>(dloss[0]) / static_cast<double>(n) / tau);
  parallel_for(ctx, n, kAnchorBlock, [&](std::int64_t begin, std::int64_t end, int worker) {
    // p+ - 1 = -sum_q p_q: taken from the sum, it does not cancel when the anchor has found its positive.
    T pull[kAnchorBlock] = {};
    if (danchor_accumulate == Accumulate::kOverwrite) {
      for (std::int64_t r = begin; r < end; ++r) std::fill_n(danchor.row(r), c, T(0));
    }
    for (std::int64_t tile = 0; tile < rows; tile += tile_rows) {
      const View<T, 2> z(work.row(worker), {end - begin, std::min(tile_rows, rows - tile)});
      p.scores(z, begin, tile);
      for (std::int64_t r = 0; r < z.rows(); ++r) {
        T* __restrict row = z.row(r);
        const T shift = lse[begin + r];
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t q = 0; q < z.cols(); ++q) {
          row[q] = g * vec::exp(row[q] - shift);
          sum += row[q];
        }
        pull[r] -= sum;
      }
      gemm_serial(danchor.slice_rows(begin, end - begin), z, queue.slice_rows(tile, z.cols()),
                  {.accumulate = Accumulate::kAdd});
    }
    for (std::int64_t r = begin; r < end; ++r) {
      const T *a = anchor.row(r), *b = positive.row(r);
      const T factor = pull[r - begin];
      T* da = danchor.row(r);
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) da[i] += factor * b[i];
      if (!dpositive) continue;
      T* dp = dpositive.row(r);
      if (dpositive_accumulate == Accumulate::kOverwrite) std::fill_n(dp, c, T(0));
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) dp[i] += factor * a[i];
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                       \
  template void info_nce_forward<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>,        \
                                    ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>, \
                                    View<const std::int32_t, 1>, double);                                           \
  template void info_nce_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, ConstView<T, 1>, ConstView<T, 2>, ConstView<T, 2>, \
                                     ConstView<T, 2>, View<const std::int32_t, 1>, View<const std::int32_t, 1>,     \
                                     ConstView<T, 1>, double, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
