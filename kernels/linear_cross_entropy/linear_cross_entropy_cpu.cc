#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/row_max.h"
#include "kernels/common/vec_math.h"
#include "kernels/gemm/gemm.h"
#include "kernels/linear_cross_entropy/few_rows_cpu.h"

namespace galrec {

namespace {

constexpr std::int64_t kLogitBytes = std::int64_t{32} << 20;  // scratch for the logits of a chunk of rows

// Rows per chunk: what the scratch holds, at least 8 so that the products keep some depth for huge vocabularies.
template <class T>
std::int64_t chunk_rows(std::int64_t vocabulary) {
  const std::int64_t row_bytes = std::max<std::int64_t>(vocabulary, 1) * static_cast<std::int64_t>(sizeof(T));
  return std::clamp<std::int64_t>(kLogitBytes / row_bytes, 8, 1024);
}

template <class T>
struct Problem {
  View<const T, 2> x, w;
  View<const T, 1> bias;
  View<const std::int32_t, 1> targets;
  double scale;

  void check() const {
    GALREC_CHECK(x.rows() > 0 && w.rows() > 0, "{} rows against {} columns", x.rows(), w.rows());
    GALREC_CHECK(x.cols() == w.cols(), "x has {} columns, w {}", x.cols(), w.cols());
    GALREC_CHECK(!bias || bias.extent(0) == w.rows(), "bias ({}) for {} columns", bias.extent(0), w.rows());
    GALREC_CHECK(targets.extent(0) == x.rows(), "{} targets for {} rows", targets.extent(0), x.rows());
    for (std::int64_t n = 0; n < targets.extent(0); ++n) {
      GALREC_CHECK(targets[n] >= 0 && targets[n] < w.rows(), "target {} of row {} is not one of {} columns", targets[n],
                   n, w.rows());
    }
  }

  // Calls body(first, z) for chunks of rows, with z the logits of rows [first, first + z.rows()). z may be changed.
  template <class Body>
  void for_each_chunk(CpuContext& ctx, Body&& body) const {
    const std::int64_t n = x.rows(), v = w.rows(), chunk = chunk_rows<T>(v);
    ScratchScope scratch(ctx.scratch());
    auto logits = scratch->matrix<T>(std::min(chunk, n), v);
    for (std::int64_t first = 0; first < n; first += chunk) {
      const auto z = logits.slice_rows(0, std::min(chunk, n - first));
      gemm(ctx, z, x.slice_rows(first, z.rows()), w, {.b = Transpose::kYes, .alpha = scale});
      if (bias) add_bias(ctx, z, bias);
      body(first, z);
    }
  }
};

template <class T>
T log_sum_exp(const T* row, std::int64_t n) {
  const T top = row_max(row, n, row[0]);
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += vec::exp(row[i] - top);
  return top + std::log(sum);
}

}  // namespace

template <class T>
void linear_cross_entropy_forward(CpuContext& ctx, View<T, 1> loss, View<T, 1> losses, View<T, 1> lse,
                                  ConstView<T, 2> x, ConstView<T, 2> w, ConstView<T, 1> bias,
                                  View<const std::int32_t, 1> targets, double scale) {
  const Problem<T> p{x, w, bias, targets, scale};
  p.check();
  const std::int64_t n = x.rows(), v = w.rows();
  GALREC_CHECK(loss.extent(0) == 1 && losses.extent(0) == n && lse.extent(0) == n,
               "loss ({}), losses ({}), lse ({}) for {} rows", loss.extent(0), losses.extent(0), lse.extent(0), n);
  if (n <= few_rows::kMost) {
    few_rows::forward<T>(ctx, losses, lse, {x, w, bias, targets, scale});
  } else {
    p.for_each_chunk(ctx, [&](std::int64_t first, View<T, 2> z) {
      parallel_for(ctx, z.rows(), 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t r = begin; r < end; ++r) {
          const T* row = z.row(r);
          lse[first + r] = log_sum_exp(row, v);
          losses[first + r] = lse[first + r] - row[targets[first + r]];
        }
      });
    });
  }
  double total = 0;
  for (std::int64_t r = 0; r < n; ++r) total += static_cast<double>(losses[r]);
  loss[0] = static_cast<T>(total / static_cast<double>(n));
}

template <class T>
void linear_cross_entropy_backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dw, View<T, 1> dbias, ConstView<Acc<T>, 1> dloss,
                                   ConstView<T, 2> x, ConstView<T, 2> w, ConstView<T, 1> bias,
                                   View<const std::int32_t, 1> targets, ConstView<T, 1> lse, double scale,
                                   Accumulate dx_accumulate, Accumulate dw_accumulate) {
  const Problem<T> p{x, w, bias, targets, scale};
  p.check();
  const std::int64_t n = x.rows(), v = w.rows(), c = x.cols();
  GALREC_CHECK(lse.extent(0) == n, "lse ({}) for {} rows", lse.extent(0), n);
  GALREC_CHECK(!dx || (dx.rows() == n && dx.cols() == c), "dx is ({}, {}), expected ({}, {})", dx.rows(), dx.cols(), n,
               c);
  GALREC_CHECK(!dw || (dw.rows() == v && dw.cols() == c), "dw is ({}, {}), expected ({}, {})", dw.rows(), dw.cols(), v,
               c);
  GALREC_CHECK(!dbias || dbias.extent(0) == v, "dbias ({}) for {} columns", dbias.extent(0), v);
  GALREC_CHECK(dloss.size() == 1, "dloss has {} elements", dloss.size());
  const T g = dloss[0] / static_cast<T>(n);
  if (n <= few_rows::kMost) {
    return few_rows::backward<T>(ctx, dx, dw, dbias, g, {x, w, bias, targets, scale}, lse, dx_accumulate, dw_accumulate);
  }
  p.for_each_chunk(ctx, [&](std::int64_t first, View<T, 2> z) {
    parallel_for(ctx, z.rows(), 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* row = z.row(r);
        const T shift = lse[first + r];
#pragma omp simd
        for (std::int64_t i = 0; i < v; ++i) row[i] = g * vec::exp(row[i] - shift);
        row[targets[first + r]] -= g;
      }
    });
    const auto rows = x.slice_rows(first, z.rows());
    const Accumulate mode = first == 0 ? dw_accumulate : Accumulate::kAdd;
    if (dx) gemm(ctx, dx.slice_rows(first, z.rows()), z, w, {.accumulate = dx_accumulate, .alpha = scale});
    if (dw) gemm(ctx, dw, z, rows, {.a = Transpose::kYes, .accumulate = mode, .alpha = scale});
    if (dbias) column_sum(ctx, dbias, z, mode);
  });
}

#define GALREC_INSTANTIATE(T)                                                                                     \
  template void linear_cross_entropy_forward<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, ConstView<T, 2>, \
                                                ConstView<T, 2>, ConstView<T, 1>, View<const std::int32_t, 1>,    \
                                                double);                                                          \
  template void linear_cross_entropy_backward<T>(                                                                 \
      CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, ConstView<Acc<T>, 1>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, \
      View<const std::int32_t, 1>, ConstView<T, 1>, double, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
