#include "kernels/layer_norm/layer_norm.h"

#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/row_slabs.h"

namespace galrec {

namespace {

template <class T>
void check_matrix(View<const T, 2> v, std::int64_t n, std::int64_t c, const char* name) {
  GALREC_CHECK(v.rows() == n && v.cols() == c, "{} is ({}, {}), expected ({}, {})", name, v.rows(), v.cols(), n, c);
}

}  // namespace

template <class T>
void layer_norm_forward(CpuContext& ctx, View<T, 2> y, View<T, 2> sum, View<T, 1> mean, View<T, 1> rstd, ConstView<T, 2> x,
                        ConstView<T, 2> residual, ConstView<T, 1> weight, ConstView<T, 1> bias, const LayerNormOptions& options) {
  const std::int64_t n = x.rows(), c = x.cols();
  check_matrix<T>(y, n, c, "y");
  GALREC_CHECK(mean.extent(0) == n && rstd.extent(0) == n, "mean ({}), rstd ({}) for {} rows", mean.extent(0), rstd.extent(0), n);
  GALREC_CHECK(weight.extent(0) == c && bias.extent(0) == c, "weight ({}), bias ({}) for {} columns", weight.extent(0), bias.extent(0), c);
  const bool has_residual = static_cast<bool>(residual);
  if (has_residual) {
    check_matrix<T>(residual, n, c, "residual");
    check_matrix<T>(sum, n, c, "sum");
  }
  const bool dropping = has_residual && options.dropout.active();
  const std::uint64_t mask_stride = dropout_row_stride(c);
  ScratchScope scratch(ctx.scratch());
  auto masks = scratch->matrix<T>(ctx.threads(), c);
  const T inv_c = T(1) / static_cast<T>(c), eps = static_cast<T>(options.eps);

  parallel_for(ctx, n, rows_per_chunk(c), [&](std::int64_t begin, std::int64_t end, int worker) {
    T* __restrict mask = masks.row(worker);
    for (std::int64_t r = begin; r < end; ++r) {
      const T* source = x.row(r);
      if (has_residual) {
        const T* res = residual.row(r);
        T* total = sum.row(r);
        if (dropping) {
          dropout_multipliers(options.dropout, static_cast<std::uint64_t>(r) * mask_stride, c, mask);
#pragma omp simd
          for (std::int64_t i = 0; i < c; ++i) total[i] = res[i] + mask[i] * source[i];
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < c; ++i) total[i] = res[i] + source[i];
        }
        source = total;
      }
      T first = 0;
#pragma omp simd reduction(+ : first)
      for (std::int64_t i = 0; i < c; ++i) first += source[i];
      const T centre = first * inv_c;
      T second = 0;
#pragma omp simd reduction(+ : second)
      for (std::int64_t i = 0; i < c; ++i) second += (source[i] - centre) * (source[i] - centre);
      const T scale = T(1) / std::sqrt(second * inv_c + eps);
      mean[r] = centre;
      rstd[r] = scale;
      T* out = y.row(r);
      const T *w = weight.data, *b = bias.data;
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] = (source[i] - centre) * scale * w[i] + b[i];
    }
  });
}

template <class T>
void layer_norm_backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dresidual, View<T, 1> dweight, View<T, 1> dbias, ConstView<T, 2> dy,
                         ConstView<T, 2> dsum, ConstView<T, 2> sum, ConstView<T, 1> weight, ConstView<T, 1> mean, ConstView<T, 1> rstd,
                         const LayerNormOptions& options, Accumulate dx_accumulate, Accumulate dresidual_accumulate, Accumulate dweight_accumulate) {
  const std::int64_t n = sum.rows(), c = sum.cols();
  check_matrix<T>(dy, n, c, "dy");
  GALREC_CHECK(mean.extent(0) == n && rstd.extent(0) == n && weight.extent(0) == c, "statistics for ({}, {})", n, c);
  if (dx) check_matrix<T>(dx, n, c, "dx");
  if (dresidual) check_matrix<T>(dresidual, n, c, "dresidual");
  if (dsum) check_matrix<T>(dsum, n, c, "dsum");
  if (dweight) GALREC_CHECK(dweight.extent(0) == c);
  if (dbias) GALREC_CHECK(dbias.extent(0) == c);
  GALREC_CHECK(!(dresidual && dresidual.data == dsum.data) || dresidual_accumulate == Accumulate::kOverwrite, "dresidual aliases dsum: it must overwrite");
  const bool dropping = static_cast<bool>(dresidual) && options.dropout.active();
  const bool add_x = dx_accumulate == Accumulate::kAdd, add_residual = dresidual_accumulate == Accumulate::kAdd;
  const std::uint64_t mask_stride = dropout_row_stride(c);
  ScratchScope scratch(ctx.scratch());
  auto work = scratch->matrix<T>(ctx.threads(), 2 * c);
  RowSlabs<T> weight_slabs(*scratch, dweight ? n : 0, c), bias_slabs(*scratch, dbias ? n : 0, c);
  const T inv_c = T(1) / static_cast<T>(c);

  parallel_for(ctx, n, kSlabRows, [&](std::int64_t begin, std::int64_t end, int worker) {
    T* __restrict total = work.row(worker);
    T* __restrict mask = total + c;
    T* weight_partial = dweight ? weight_slabs.clear(begin / kSlabRows) : nullptr;
    T* bias_partial = dbias ? bias_slabs.clear(begin / kSlabRows) : nullptr;
    for (std::int64_t r = begin; r < end; ++r) {
      const T* g = dy.row(r);
      const T* s = sum.row(r);
      const T* w = weight.data;
      const T scale = rstd[r], centre = mean[r];
      T plain = 0, projected = 0;
#pragma omp simd reduction(+ : plain, projected)
      for (std::int64_t i = 0; i < c; ++i) {
        const T gw = g[i] * w[i];
        plain += gw;
        projected += gw * (s[i] - centre) * scale;
      }
      plain *= inv_c;
      projected *= inv_c;
      if (weight_partial) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) weight_partial[i] += g[i] * (s[i] - centre) * scale;
      }
      if (bias_partial) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) bias_partial[i] += g[i];
      }
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) total[i] = scale * (g[i] * w[i] - plain - (s[i] - centre) * scale * projected);
      if (dsum) add_or_store(total, dsum.row(r), c, true);
      if (dresidual) add_or_store(dresidual.row(r), total, c, add_residual);
      if (!dx) continue;
      if (dropping) {
        dropout_multipliers(options.dropout, static_cast<std::uint64_t>(r) * mask_stride, c, mask);
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) total[i] *= mask[i];
      }
      add_or_store(dx.row(r), total, c, add_x);
    }
  });
  if (dweight) weight_slabs.reduce(dweight.data, dweight_accumulate);
  if (dbias) bias_slabs.reduce(dbias.data, dweight_accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                                               \
  template void layer_norm_forward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, View<T, 1>, ConstView<T, 2>, ConstView<T, 2>,        \
                                      ConstView<T, 1>, ConstView<T, 1>, const LayerNormOptions&);                                           \
  template void layer_norm_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, View<T, 1>, ConstView<T, 2>, ConstView<T, 2>,       \
                                       ConstView<T, 2>, ConstView<T, 1>, ConstView<T, 1>, ConstView<T, 1>, const LayerNormOptions&,         \
                                       Accumulate, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
