#include "kernels/info_nce/info_nce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/parallel.h"
#include "kernels/common/vec_math.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

constexpr std::int64_t kAnchorBlock = 16;  // anchors that share a pass over the queue
constexpr std::int64_t kQueueTile = 512;   // queue rows whose scores are held at once

template <class T>
struct Problem {
  View<const T, 2> anchor, positive, queue;
  View<const std::int32_t, 1> queue_ids, own_ids;
  double tau;

  void check() const {
    const std::int64_t n = anchor.rows(), c = anchor.cols(), q = queue_rows();
    GALREC_CHECK(n > 0 && tau > 0, "{} anchors, tau {}", n, tau);
    GALREC_CHECK(positive.rows() == n && positive.cols() == c, "positive is ({}, {}), expected ({}, {})", positive.rows(), positive.cols(), n, c);
    GALREC_CHECK(q == 0 || queue.cols() == c, "the queue has {} columns, expected {}", queue.cols(), c);
    GALREC_CHECK(queue_ids.extent(0) == q && own_ids.extent(0) == n, "{} queue ids for {} rows, {} own ids for {} anchors", queue_ids.extent(0), q, own_ids.extent(0), n);
  }
  std::int64_t queue_rows() const { return queue ? queue.rows() : 0; }

  // Scores of anchors [first, first + z.rows()) against queue rows from `tile` on, -inf where the ids are equal.
  void scores(View<T, 2> z, std::int64_t first, std::int64_t tile) const {
    gemm_serial(z, anchor.slice_rows(first, z.rows()), queue.slice_rows(tile, z.cols()), {.b = Transpose::kYes, .alpha = 1.0 / tau});
    for (std::int64_t r = 0; r < z.rows(); ++r)
      for (std::int64_t q = 0; q < z.cols(); ++q)
        if (queue_ids[tile + q] == own_ids[first + r]) z(r, q) = -std::numeric_limits<T>::infinity();
  }
};

}  // namespace

template <class T>
void info_nce_forward(CpuContext& ctx, View<T, 1> loss, View<T, 1> losses, View<T, 1> lse, View<T, 1> positive_score, View<T, 1> hardest,
                      ConstView<T, 2> anchor, ConstView<T, 2> positive, ConstView<T, 2> queue, View<const std::int32_t, 1> queue_ids,
                      View<const std::int32_t, 1> own_ids, double tau) {
  const Problem<T> p{anchor, positive, queue, queue_ids, own_ids, tau};
  p.check();
  const std::int64_t n = anchor.rows(), c = anchor.cols(), rows = p.queue_rows();
  GALREC_CHECK(loss.extent(0) == 1);
  for (const auto& v : {losses, lse, positive_score, hardest}) GALREC_CHECK(v.extent(0) == n, "an output has {} elements, expected {}", v.extent(0), n);
  ScratchScope scratch(ctx.scratch());
  auto work = scratch->matrix<T>(ctx.threads(), kAnchorBlock * std::max<std::int64_t>(rows, 1));
  const T inv_tau = static_cast<T>(1.0 / tau);
  parallel_for(ctx, n, kAnchorBlock, [&](std::int64_t begin, std::int64_t end, int worker) {
    const View<T, 2> z(work.row(worker), {end - begin, rows});
    if (rows > 0) p.scores(z, begin, 0);
    for (std::int64_t r = begin; r < end; ++r) {
      const T *a = anchor.row(r), *b = positive.row(r);
      T s = 0;
#pragma omp simd reduction(+ : s)
      for (std::int64_t i = 0; i < c; ++i) s += a[i] * b[i];
      s *= inv_tau;
      T top = -std::numeric_limits<T>::infinity();
      const T* row = z.row(r - begin);
      for (std::int64_t q = 0; q < rows; ++q) top = row[q] > top ? row[q] : top;
      hardest[r] = top;
      positive_score[r] = s;
      const T shift = top > s ? top : s;
      T sum = vec::exp(s - shift);
#pragma omp simd reduction(+ : sum)
      for (std::int64_t q = 0; q < rows; ++q) sum += vec::exp(row[q] - shift);
      lse[r] = shift + std::log(sum);
      losses[r] = lse[r] - s;
    }
  });
  double total = 0;
  for (std::int64_t r = 0; r < n; ++r) total += static_cast<double>(losses[r]);
  loss[0] = static_cast<T>(total / static_cast<double>(n));
}

template <class T>
void info_nce_backward(CpuContext& ctx, View<T, 2> danchor, View<T, 2> dpositive, double dloss, ConstView<T, 2> anchor, ConstView<T, 2> positive,
                       ConstView<T, 2> queue, View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids, ConstView<T, 1> lse,
                       double tau, Accumulate danchor_accumulate, Accumulate dpositive_accumulate) {
  const Problem<T> p{anchor, positive, queue, queue_ids, own_ids, tau};
  p.check();
  const std::int64_t n = anchor.rows(), c = anchor.cols(), rows = p.queue_rows();
  GALREC_CHECK(danchor.rows() == n && danchor.cols() == c && lse.extent(0) == n, "danchor ({}, {}), lse ({})", danchor.rows(), danchor.cols(), lse.extent(0));
  GALREC_CHECK(!dpositive || (dpositive.rows() == n && dpositive.cols() == c), "dpositive ({}, {})", dpositive.rows(), dpositive.cols());
  const bool add_anchor = danchor_accumulate == Accumulate::kAdd, add_positive = dpositive_accumulate == Accumulate::kAdd;
  ScratchScope scratch(ctx.scratch());
  const std::int64_t tile_rows = std::min(kQueueTile, std::max<std::int64_t>(rows, 1));
  auto work = scratch->matrix<T>(ctx.threads(), kAnchorBlock * tile_rows);
  const T inv_tau = static_cast<T>(1.0 / tau), g = static_cast<T>(dloss / static_cast<double>(n) / tau);
  parallel_for(ctx, n, kAnchorBlock, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *a = anchor.row(r), *b = positive.row(r);
      T s = 0;
#pragma omp simd reduction(+ : s)
      for (std::int64_t i = 0; i < c; ++i) s += a[i] * b[i];
      const T pull = g * (vec::exp(s * inv_tau - lse[r]) - T(1));
      T* da = danchor.row(r);
      if (!add_anchor) std::fill_n(da, c, T(0));
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) da[i] += pull * b[i];
      if (!dpositive) continue;
      T* dp = dpositive.row(r);
      if (!add_positive) std::fill_n(dp, c, T(0));
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) dp[i] += pull * a[i];
    }
    for (std::int64_t tile = 0; tile < rows; tile += tile_rows) {
      const View<T, 2> z(work.row(worker), {end - begin, std::min(tile_rows, rows - tile)});
      p.scores(z, begin, tile);
      for (std::int64_t r = 0; r < z.rows(); ++r) {
        T* row = z.row(r);
        const T shift = lse[begin + r];
#pragma omp simd
        for (std::int64_t q = 0; q < z.cols(); ++q) row[q] = g * vec::exp(row[q] - shift);
      }
      gemm_serial(danchor.slice_rows(begin, end - begin), z, queue.slice_rows(tile, z.cols()), {.accumulate = Accumulate::kAdd});
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                                                    \
  template void info_nce_forward<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>, ConstView<T, 2>, ConstView<T, 2>,   \
                                    ConstView<T, 2>, View<const std::int32_t, 1>, View<const std::int32_t, 1>, double);                          \
  template void info_nce_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, double, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>,             \
                                     View<const std::int32_t, 1>, View<const std::int32_t, 1>, ConstView<T, 1>, double, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
