#include "kernels/rms_norm/rms_norm.h"

#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/rows.h"

namespace galrec {

namespace {

constexpr std::int64_t kSlabRows = 64;  // rows whose weight gradient is summed before it leaves the first-level cache

}  // namespace

template <class T>
void rms_norm_forward(CpuContext& ctx, View<T, 2> y, View<T, 2> sum, View<T, 1> rstd, ConstView<T, 2> x,
                      ConstView<T, 2> residual, ConstView<T, 1> weight, const RmsNormOptions& options) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  GALREC_CHECK(same_shape(y, x), "y ({}, {}), x ({}, {})", y.rows(), y.cols(), rows, cols);
  GALREC_CHECK(rstd.extent(0) == rows && weight.extent(0) == cols, "rstd ({}), weight ({}) for x ({}, {})", rstd.extent(0),
               weight.extent(0), rows, cols);
  if (residual) {
    GALREC_CHECK(same_shape(residual, x) && same_shape(sum, x), "residual ({}, {}), sum ({}, {}), x ({}, {})",
                 residual.rows(), residual.cols(), sum.rows(), sum.cols(), rows, cols);
  } else {
    GALREC_CHECK(!sum && !options.dropout.active(), "sum and dropout want a residual");
  }
  const T* w = weight.data;
  const T eps = static_cast<T>(options.eps);
  parallel_for(ctx, rows, row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    RowMask<T> mask(options.dropout, cols, end);
    for (std::int64_t n = begin; n < end; ++n) {
      const T* s = x.row(n);
      if (residual) {
        for_row_segments(cols, [&](std::int64_t first, std::int64_t count) {
          const T* m = mask.at(n, first, count);
          const T* xn = x.row(n) + first;
          const T* rn = residual.row(n) + first;
          T* out = sum.row(n) + first;
#pragma omp simd
          for (std::int64_t c = 0; c < count; ++c) out[c] = rn[c] + xn[c] * m[c];
        });
        s = sum.row(n);
      }
      const T r = T(1) / std::sqrt(lane_sum<T>(cols, [s](std::int64_t c) { return s[c] * s[c]; }) / static_cast<T>(cols) + eps);
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
  GALREC_CHECK(same_shape(dy, sum), "dy ({}, {}), sum ({}, {})", dy.rows(), dy.cols(), rows, cols);
  GALREC_CHECK(rstd.extent(0) == rows && weight.extent(0) == cols, "rstd ({}), weight ({}) for sum ({}, {})",
               rstd.extent(0), weight.extent(0), rows, cols);
  GALREC_CHECK(!dx || same_shape(dx, sum), "dx ({}, {}), sum ({}, {})", dx.rows(), dx.cols(), rows, cols);
  GALREC_CHECK(!dresidual || same_shape(dresidual, sum), "dresidual ({}, {}), sum ({}, {})", dresidual.rows(),
               dresidual.cols(), rows, cols);
  GALREC_CHECK(!dsum || same_shape(dsum, sum), "dsum ({}, {}), sum ({}, {})", dsum.rows(), dsum.cols(), rows, cols);
  GALREC_CHECK(!dweight || dweight.extent(0) == cols, "dweight ({}) for {} columns", dweight.extent(0), cols);
  GALREC_CHECK(!dsum || dsum.data != dresidual.data || dresidual_accumulate == Accumulate::kOverwrite,
               "dresidual is dsum and cannot be added to");

  ScratchScope scratch(ctx.scratch());
  View<T, 2> slabs;
  if (dweight) slabs = scratch->matrix<T>((rows + kSlabRows - 1) / kSlabRows, cols);
  const T* w = weight.data;
  parallel_for(ctx, rows, kSlabRows, [&](std::int64_t begin, std::int64_t end, int) {
    RowMask<T> mask(options.dropout, cols, end);
    T* slab = dweight ? slabs.row(begin / kSlabRows) : nullptr;
    if (slab) std::fill_n(slab, cols, T(0));
    for (std::int64_t n = begin; n < end; ++n) {
      const T* s = sum.row(n);
      const T* g = dy.row(n);
      const T r = rstd[n];
      if (slab) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) slab[c] += g[c] * (s[c] * r);
      }
      if (!dx && !dresidual) continue;
      const T mean = lane_sum<T>(cols, [s, g, w](std::int64_t c) { return s[c] * g[c] * w[c]; }) / static_cast<T>(cols);
      const T back = r * r * (r * mean);
      for_row_segments(cols, [&](std::int64_t first, std::int64_t count) {
        T dn[kRowSegment];
        const T* sn = s + first;
        const T* gn = g + first;
        const T* wn = w + first;
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) dn[c] = r * (gn[c] * wn[c]) - sn[c] * back;
        if (dsum) {
          const T* from = dsum.row(n) + first;
#pragma omp simd
          for (std::int64_t c = 0; c < count; ++c) dn[c] += from[c];
        }
        if (dresidual) store_row(dresidual.row(n) + first, dn, count, dresidual_accumulate);
        if (dx) {
          T* out = dx.row(n) + first;
          const T* m = mask.at(n, first, count);
          if (dx_accumulate == Accumulate::kAdd) {
#pragma omp simd
            for (std::int64_t c = 0; c < count; ++c) out[c] += dn[c] * m[c];
          } else {
#pragma omp simd
            for (std::int64_t c = 0; c < count; ++c) out[c] = dn[c] * m[c];
          }
        }
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
