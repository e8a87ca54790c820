#include "kernels/layer_norm/layer_norm.h"

#include <cmath>

#include "kernels/common/norm_rows.h"

namespace galrec {

template <class T>
void layer_norm_forward(CpuContext& ctx, View<T, 2> y, View<T, 2> sum, View<T, 1> mean, View<T, 1> rstd,
                        ConstView<T, 2> x, ConstView<T, 2> residual, ConstView<T, 1> weight, ConstView<T, 1> bias,
                        const LayerNormOptions& options) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  GALREC_CHECK(same_shape(y, x), "y ({}, {}), x ({}, {})", y.rows(), y.cols(), rows, cols);
  GALREC_CHECK(mean.extent(0) == rows && rstd.extent(0) == rows, "mean ({}), rstd ({}), x ({}, {})", mean.extent(0),
               rstd.extent(0), rows, cols);
  GALREC_CHECK(weight.extent(0) == cols && bias.extent(0) == cols, "weight ({}), bias ({}), x ({}, {})",
               weight.extent(0), bias.extent(0), rows, cols);
  if (residual) {
    GALREC_CHECK(same_shape(residual, x) && same_shape(sum, x), "residual ({}, {}), sum ({}, {}), x ({}, {})",
                 residual.rows(), residual.cols(), sum.rows(), sum.cols(), rows, cols);
  } else {
    GALREC_CHECK(!sum && !options.dropout.active(), "sum and dropout need a residual");
  }
  const T* w = weight.data;
  const T* b = bias.data;
  const T eps = static_cast<T>(options.eps), share = T(1) / static_cast<T>(cols);
  parallel_for(ctx, rows, row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    RowMask<T> mask(options.dropout, cols, end);
    for (std::int64_t n = begin; n < end; ++n) {
      if (residual) add_residual_row<T>(n, sum, x, residual, mask);
      const T* s = residual ? sum.row(n) : x.row(n);
      const T centre = share * lane_sum<T>(cols, [s](std::int64_t c) { return s[c]; });
      const T variance =
          share * lane_sum<T>(cols, [s, centre](std::int64_t c) { return (s[c] - centre) * (s[c] - centre); });
      const T r = T(1) / std::sqrt(variance + eps);
      mean[n] = centre;
      rstd[n] = r;
      T* out = y.row(n);
#pragma omp simd
      for (std::int64_t c = 0; c < cols; ++c) out[c] = (s[c] - centre) * r * w[c] + b[c];
    }
  });
}

template <class T>
void layer_norm_backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dresidual, View<T, 1> dweight, View<T, 1> dbias,
                         ConstView<T, 2> dy, ConstView<T, 2> dsum, ConstView<T, 2> sum, ConstView<T, 1> weight,
                         ConstView<T, 1> mean, ConstView<T, 1> rstd, const LayerNormOptions& options,
                         Accumulate dx_accumulate, Accumulate dresidual_accumulate, Accumulate dweight_accumulate) {
  const std::int64_t rows = sum.rows(), cols = sum.cols();
  const NormGradient<T> gradient{dx, dresidual, dsum, dx_accumulate, dresidual_accumulate};
  gradient.check(rows, cols);
  GALREC_CHECK(same_shape(dy, sum), "dy ({}, {}), sum ({}, {})", dy.rows(), dy.cols(), rows, cols);
  GALREC_CHECK(mean.extent(0) == rows && rstd.extent(0) == rows && weight.extent(0) == cols,
               "mean ({}), rstd ({}), weight ({}), sum ({}, {})", mean.extent(0), rstd.extent(0), weight.extent(0),
               rows, cols);
  GALREC_CHECK(!dweight || dweight.extent(0) == cols, "dweight ({}) for {} columns", dweight.extent(0), cols);
  GALREC_CHECK(!dbias || dbias.extent(0) == cols, "dbias ({}) for {} columns", dbias.extent(0), cols);

  ScratchScope scratch(ctx.scratch());
  const std::int64_t slab_count = (rows + kNormSlabRows - 1) / kNormSlabRows;
  View<T, 2> weight_slabs, bias_slabs;
  if (dweight) weight_slabs = scratch->matrix<T>(slab_count, cols);
  if (dbias) bias_slabs = scratch->matrix<T>(slab_count, cols);
  const T* w = weight.data;
  const T share = T(1) / static_cast<T>(cols);
  parallel_for(ctx, rows, kNormSlabRows, [&](std::int64_t begin, std::int64_t end, int) {
    RowMask<T> mask(options.dropout, cols, end);
    T* weight_slab = dweight ? weight_slabs.row(begin / kNormSlabRows) : nullptr;
    T* bias_slab = dbias ? bias_slabs.row(begin / kNormSlabRows) : nullptr;
    if (weight_slab) std::fill_n(weight_slab, cols, T(0));
    if (bias_slab) std::fill_n(bias_slab, cols, T(0));
    for (std::int64_t n = begin; n < end; ++n) {
      const T* s = sum.row(n);
      const T* g = dy.row(n);
      const T centre = mean[n], r = rstd[n];
      if (weight_slab) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) weight_slab[c] += g[c] * ((s[c] - centre) * r);
      }
      if (bias_slab) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) bias_slab[c] += g[c];
      }
      if (!gradient.wanted()) continue;
      const T mean_g = share * lane_sum<T>(cols, [g, w](std::int64_t c) { return g[c] * w[c]; });
      const T mean_gh = share * lane_sum<T>(cols, [=](std::int64_t c) { return (s[c] - centre) * r * (g[c] * w[c]); });
      for_row_segments(cols, [&](std::int64_t first, std::int64_t count) {
        T d[kRowSegment];
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) {
          const T h = (s[first + c] - centre) * r;
          d[c] = r * (g[first + c] * w[first + c] - mean_g - h * mean_gh);
        }
        gradient.send(n, first, count, d, mask);
      });
    }
  });
  if (dweight) sum_slabs<T>(ctx, dweight, weight_slabs, dweight_accumulate);
  if (dbias) sum_slabs<T>(ctx, dbias, bias_slabs, dweight_accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                        \
  template void layer_norm_forward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, View<T, 1>, ConstView<T, 2>,  \
                                      ConstView<T, 2>, ConstView<T, 1>, ConstView<T, 1>, const LayerNormOptions&);   \
  template void layer_norm_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, View<T, 1>, ConstView<T, 2>, \
                                       ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, ConstView<T, 1>,           \
                                       ConstView<T, 1>, const LayerNormOptions&, Accumulate, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
