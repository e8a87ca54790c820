#include "kernels/layer_norm/layer_norm.h"

#include "kernels/common/norm_backward_device.h"

namespace galrec {

template <class T>
void layer_norm_forward(CudaContext& ctx, View<T, 2> y, View<Acc<T>, 2> sum, View<Acc<T>, 1> mean, View<Acc<T>, 1> rstd,
                        ConstView<T, 2> x, ConstView<Acc<T>, 2> residual, ConstView<Acc<T>, 1> weight, ConstView<Acc<T>, 1> bias,
                        const LayerNormOptions& options) {
  const std::int64_t rows = y.rows(), cols = y.cols();
  check_norm_forward<T>(y, sum, x, residual, options.dropout);
  GALREC_CHECK(mean.extent(0) == rows && rstd.extent(0) == rows, "mean ({}), rstd ({}), y ({}, {})", mean.extent(0), rstd.extent(0),
               rows, cols);
  GALREC_CHECK(weight.extent(0) == cols && bias.extent(0) == cols, "weight ({}), bias ({}), y ({}, {})", weight.extent(0),
               bias.extent(0), rows, cols);
  norm_forward<NormKind::kLayer, T>(ctx, {.y = y,
                                          .sum = sum,
                                          .mean = mean.data,
                                          .rstd = rstd.data,
                                          .x = x,
                                          .residual = residual,
                                          .weight = weight.data,
                                          .bias = bias.data,
                                          .eps = static_cast<float>(options.eps),
                                          .share = 1.0f / static_cast<float>(cols),
                                          .mask = DropoutMask(options.dropout),
                                          .mask_stride = dropout_row_stride(cols)});
}

template <class T>
void layer_norm_backward(CudaContext& ctx, View<T, 2> dx, View<Acc<T>, 2> dresidual, View<Acc<T>, 1> dweight, View<Acc<T>, 1> dbias,
                         ConstView<T, 2> dy, ConstView<Acc<T>, 2> dsum, ConstView<Acc<T>, 2> sum, ConstView<Acc<T>, 1> weight,
                         ConstView<Acc<T>, 1> mean, ConstView<Acc<T>, 1> rstd, const LayerNormOptions& options,
                         Accumulate dx_accumulate, Accumulate dresidual_accumulate, Accumulate dweight_accumulate) {
  const std::int64_t rows = sum.rows(), cols = sum.cols();
  GALREC_CHECK(mean.extent(0) == rows && rstd.extent(0) == rows && weight.extent(0) == cols,
               "mean ({}), rstd ({}), weight ({}), sum ({}, {})", mean.extent(0), rstd.extent(0), weight.extent(0), rows, cols);
  GALREC_CHECK(!dweight || dweight.extent(0) == cols, "dweight ({}) for {} columns", dweight.extent(0), cols);
  GALREC_CHECK(!dbias || dbias.extent(0) == cols, "dbias ({}) for {} columns", dbias.extent(0), cols);
  ScratchScope scratch(ctx.scratch());
  NormBackwardArguments<T> a{.dx = dx,
                             .dresidual = dresidual,
                             .dweight = {},
                             .dbias = {},
                             .dy = dy,
                             .dsum = dsum,
                             .sum = sum,
                             .weight = weight.data,
                             .mean = mean.data,
                             .rstd = rstd.data,
                             .share = 1.0f / static_cast<float>(cols),
                             .mask = DropoutMask(options.dropout),
                             .mask_stride = dropout_row_stride(cols),
                             .dx_accumulate = dx_accumulate,
                             .dresidual_accumulate = dresidual_accumulate};
  check_norm_backward(a);
  if (dweight) a.dweight = norm_slabs(ctx, *scratch, dweight, rows, dweight_accumulate);
  if (dbias) a.dbias = norm_slabs(ctx, *scratch, dbias, rows, dweight_accumulate);
  norm_backward<NormKind::kLayer, T>(ctx, a);
  if (dweight) sum_slabs(ctx, dweight, a.dweight, dweight_accumulate);
  if (dbias) sum_slabs(ctx, dbias, a.dbias, dweight_accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                             \
  template void layer_norm_forward<T>(CudaContext&, View<T, 2>, View<Acc<T>, 2>, View<Acc<T>, 1>, View<Acc<T>, 1>,        \
                                      ConstView<T, 2>, ConstView<Acc<T>, 2>, ConstView<Acc<T>, 1>, ConstView<Acc<T>, 1>,  \
                                      const LayerNormOptions&);                                                           \
  template void layer_norm_backward<T>(CudaContext&, View<T, 2>, View<Acc<T>, 2>, View<Acc<T>, 1>, View<Acc<T>, 1>,       \
                                       ConstView<T, 2>, ConstView<Acc<T>, 2>, ConstView<Acc<T>, 2>, ConstView<Acc<T>, 1>, \
                                       ConstView<Acc<T>, 1>, ConstView<Acc<T>, 1>, const LayerNormOptions&, Accumulate,   \
                                       Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
