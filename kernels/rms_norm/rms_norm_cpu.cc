#include "kernels/rms_norm/rms_norm.h"

#include <cmath>

#include "kernels/common/norm_rows.h"

namespace galrec {

template <class T>
void rms_norm_forward(CpuContext& ctx, View<T, 2> y, View<T, 2> sum, View<T, 1> rstd, ConstView<T, 2> x,
                      ConstView<T, 2> residual, ConstView<T, 1> weight, const RmsNormOptions& options) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  GALREC_CHECK(same_shape(y, x), "y ({}, {}), x ({}, {})", y.rows(), y.cols(), rows, cols);
  GALREC_CHECK(rstd.extent(0) == rows && weight.extent(0) == cols, "rstd ({}), weight ({}), x ({}, {})", rstd.extent(0),
               weight.extent(0), rows, cols);
  if (residual) {
    GALREC_CHECK(same_shape(residual, x) && same_shape(sum, x), "residual ({}, {}), sum ({}, {}), x ({}, {})",
                 residual.rows(), residual.cols(), sum.rows(), sum.cols(), rows, cols);
  } else {
    GALREC_CHECK(!sum && !options.dropout.active(), "sum and dropout need a residual");
  }
  const T* w = weight.data;
  const T eps = static_cast<T>(options.eps);
  parallel_for(ctx, rows, row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    RowMask<T> mask(options.dropout, cols, end);
    for (std::int64_t n = begin; n < end; ++n) {
      if (residual) add_residual_row<T>(n, sum, x, residual, mask);
      const T* s = residual ? sum.row(n) : x.row(n);
      const T square = lane_sum<T>(cols, [s](std::int64_t c) { return s[c] * s[c]; }) / static_cast<T>(cols);
      const T r = T(1) / std::sqrt(square + eps);
      rstd[n] = r;
      T* out = y.row(n);
#pragma omp simd
      for (std::int64_t c = 0; c < cols; ++c) out[c] = s[c] * r * w[c];
    }
  });
}

template <class T>
void rms_norm_backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dresidual, View<T, 1> dweight, ConstView<T, 2> dy,
                       ConstView<T, 2> dsum, ConstView<T, 2> sum, ConstView<T, 1> weight, ConstView<T, 1> rstd,
                       const RmsNormOptions& options, Accumulate dx_accumulate, Accumulate dresidual_accumulate,
                       Accumulate dweight_accumulate) {
  const std::int64_t rows = sum.rows(), cols = sum.cols();
  const NormGradient<T> gradient{dx, dresidual, dsum, dx_accumulate, dresidual_accumulate};
  gradient.check(rows, cols);
  GALREC_CHECK(same_shape(dy, sum), "dy ({}, {}), sum ({}, {})", dy.rows(), dy.cols(), rows, cols);
  GALREC_CHECK(rstd.extent(0) == rows && weight.extent(0) == cols, "rstd ({}), weight ({}), sum ({}, {})",
               rstd.extent(0), weight.extent(0), rows, cols);
  GALREC_CHECK(!dweight || dweight.extent(0) == cols, "dweight ({}) for {} columns", dweight.extent(0), cols);

  ScratchScope scratch(ctx.scratch());
  View<T, 2> slabs;
  if (dweight) slabs = scratch->matrix<T>((rows + kNormSlabRows - 1) / kNormSlabRows, cols);
  const T* w = weight.data;
  parallel_for(ctx, rows, kNormSlabRows, [&](std::int64_t begin, std::int64_t end, int) {
    RowMask<T> mask(options.dropout, cols, end);
    T* slab = dweight ? slabs.row(begin / kNormSlabRows) : nullptr;
    if (slab) std::fill_n(slab, cols, T(0));
    for (std::int64_t n = begin; n < end; ++n) {
      const T* s = sum.row(n);
      const T* g = dy.row(n);
      const T r = rstd[n];
      if (slab) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) slab[c] += g[c] * (s[c] * r);
      }
      if (!gradient.wanted()) continue;
      const T mean =
          lane_sum<T>(cols, [s, g, w](std::int64_t c) { return s[c] * (g[c] * w[c]); }) / static_cast<T>(cols);
      const T back = r * r * (r * mean);
      for_row_segments(cols, [&](std::int64_t first, std::int64_t count) {
        T d[kRowSegment];
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) d[c] = r * (g[first + c] * w[first + c]) - s[first + c] * back;
        gradient.send(n, first, count, d, mask);
      });
    }
  });
  if (dweight) sum_slabs<T>(ctx, dweight, slabs, dweight_accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                          \
  template void rms_norm_forward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, ConstView<T, 2>, ConstView<T, 2>, \
                                    ConstView<T, 1>, const RmsNormOptions&);                                           \
  template void rms_norm_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, ConstView<T, 2>,                 \
                                     ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, ConstView<T, 1>,               \
                                     const RmsNormOptions&, Accumulate, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
