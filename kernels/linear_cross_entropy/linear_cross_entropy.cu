#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <algorithm>

#include "kernels/gemm/gemm.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_mma_device.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_rows_device.h"

namespace galrec {

namespace {

using namespace cross_entropy_cuda;

/// Rows whose gradients of logits lie in scratch at a time: 135 MB of bf16 for 66,000 columns. Each chunk reads and writes dw once.
template <class T>
constexpr std::int64_t kChunkRows = 2048 / static_cast<std::int64_t>(sizeof(T));
/// Rows whose partial sums lie in scratch at a time where no logits do.
constexpr std::int64_t kLossRows = 8192;

template <class T>
void check(const View<const T, 2>& x, const View<const T, 2>& w, const View<const float, 1>& bias,
           const View<const std::int32_t, 1>& targets) {
  GALREC_CHECK(x.rows() > 0 && w.rows() > 0, "{} rows against {} columns", x.rows(), w.rows());
  GALREC_CHECK(x.cols() == w.cols(), "x has {} columns, w {}", x.cols(), w.cols());
  GALREC_CHECK(!bias || bias.extent(0) == w.rows(), "bias ({}) for {} columns", bias.extent(0), w.rows());
  GALREC_CHECK(targets.extent(0) == x.rows(), "{} targets for {} rows", targets.extent(0), x.rows());
}

/// Scratch for a chunk, its rows aligned whatever the number of columns.
template <class E>
View<E, 2> chunk_matrix(Arena& scratch, std::int64_t rows, std::int64_t cols) {
  const std::int64_t stride = (cols + 63) / 64 * 64;
  return scratch.matrix<E>(rows, stride).slice_cols(0, cols);
}

/// Calls body(first row, number of rows) for chunks of rows.
template <class Body>
void for_each_chunk(std::int64_t rows, std::int64_t chunk, const Body& body) {
  for (std::int64_t first = 0; first < rows; first += chunk) body(first, std::min(chunk, rows - first));
}

/// Gradients of the logits of some rows.
template <class T>
void logit_gradients(CudaContext& ctx, View<T, 2> g, const View<const T, 2>& x, const View<const T, 2>& w, const View<const float, 1>& bias,
                     const View<const std::int32_t, 1>& targets, const View<const float, 1>& lse, const View<const float, 1>& dloss,
                     std::int64_t rows, double scale) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (fits_tensor_cores(x, w)) return gradients_of_products(ctx, g, x, w, bias, targets, lse, dloss, rows, static_cast<float>(scale));
  }
  ScratchScope scratch(ctx.scratch());
  View<float, 2> z;
  if constexpr (std::is_same_v<T, float>) {
    z = g;
  } else {
    z = chunk_matrix<float>(*scratch, g.rows(), g.cols());
  }
  gemm<T>(ctx, z, x, w, {.b = Transpose::kYes, .alpha = scale});
  gradients_of_logits<T>(ctx, g, z, bias, targets, lse, dloss, rows);
}

}  // namespace

template <class T>
void linear_cross_entropy_forward(CudaContext& ctx, View<Acc<T>, 1> loss, View<Acc<T>, 1> losses, View<Acc<T>, 1> lse, ConstView<T, 2> x,
                                  ConstView<T, 2> w, ConstView<Acc<T>, 1> bias, View<const std::int32_t, 1> targets, double scale) {
  check<T>(x, w, bias, targets);
  const std::int64_t n = x.rows();
  GALREC_CHECK(loss.extent(0) == 1 && losses.extent(0) == n && lse.extent(0) == n, "loss ({}), losses ({}), lse ({}) for {} rows",
               loss.extent(0), losses.extent(0), lse.extent(0), n);
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (fits_tensor_cores(x, w)) {
      for_each_chunk(n, kLossRows, [&](std::int64_t first, std::int64_t count) {
        losses_of_products(ctx, losses.slice(first, count), lse.slice(first, count), x.slice_rows(first, count), w, bias,
                           targets.slice(first, count), static_cast<float>(scale));
      });
      return mean_of_losses(ctx, loss, losses);
    }
  }
  ScratchScope scratch(ctx.scratch());
  const auto logits = chunk_matrix<float>(*scratch, std::min(kChunkRows<T>, n), w.rows());
  for_each_chunk(n, kChunkRows<T>, [&](std::int64_t first, std::int64_t count) {
    const auto z = logits.slice_rows(0, count);
    gemm<T>(ctx, z, x.slice_rows(first, count), w, {.b = Transpose::kYes, .alpha = scale});
    losses_of_logits(ctx, losses.slice(first, count), lse.slice(first, count), z, bias, targets.slice(first, count));
  });
  mean_of_losses(ctx, loss, losses);
}

template <class T>
void linear_cross_entropy_backward(CudaContext& ctx, View<T, 2> dx, View<Acc<T>, 2> dw, View<Acc<T>, 1> dbias, ConstView<Acc<T>, 1> dloss,
                                   ConstView<T, 2> x, ConstView<T, 2> w, ConstView<Acc<T>, 1> bias,
                                   View<const std::int32_t, 1> targets, ConstView<Acc<T>, 1> lse, double scale,
                                   Accumulate dx_accumulate, Accumulate dw_accumulate) {
  check<T>(x, w, bias, targets);
  const std::int64_t n = x.rows(), v = w.rows(), c = x.cols();
  GALREC_CHECK(dloss.size() == 1, "dloss has {} elements", dloss.size());
  GALREC_CHECK(lse.extent(0) == n, "lse ({}) for {} rows", lse.extent(0), n);
  GALREC_CHECK(!dx || (dx.rows() == n && dx.cols() == c), "dx is ({}, {}), expected ({}, {})", dx.rows(), dx.cols(), n, c);
  GALREC_CHECK(!dw || (dw.rows() == v && dw.cols() == c), "dw is ({}, {}), expected ({}, {})", dw.rows(), dw.cols(), v, c);
  GALREC_CHECK(!dbias || dbias.extent(0) == v, "dbias ({}) for {} columns", dbias.extent(0), v);
  ScratchScope scratch(ctx.scratch());
  const auto gradients = chunk_matrix<T>(*scratch, std::min(kChunkRows<T>, n), v);
  for_each_chunk(n, kChunkRows<T>, [&](std::int64_t first, std::int64_t count) {
    const auto g = gradients.slice_rows(0, count);
    const auto rows = x.slice_rows(first, count);
    logit_gradients<T>(ctx, g, rows, w, bias, targets.slice(first, count), lse.slice(first, count), dloss, n, scale);
    const Accumulate mode = first == 0 ? dw_accumulate : Accumulate::kAdd;
    if (dx) gemm<T>(ctx, dx.slice_rows(first, count), g, w, {.accumulate = dx_accumulate, .alpha = scale});
    if (dw) gemm<T>(ctx, dw, g, rows, {.a = Transpose::kYes, .accumulate = mode, .alpha = scale});
    if (dbias) column_sum<T>(ctx, dbias, g, mode);
  });
}

#define GALREC_INSTANTIATE(T)                                                                                                          \
  template void linear_cross_entropy_forward<T>(CudaContext&, View<Acc<T>, 1>, View<Acc<T>, 1>, View<Acc<T>, 1>, ConstView<T, 2>,      \
                                                ConstView<T, 2>, ConstView<Acc<T>, 1>, View<const std::int32_t, 1>, double);           \
  template void linear_cross_entropy_backward<T>(CudaContext&, View<T, 2>, View<Acc<T>, 2>, View<Acc<T>, 1>, ConstView<Acc<T>, 1>,     \
                                                 ConstView<T, 2>, ConstView<T, 2>, ConstView<Acc<T>, 1>, View<const std::int32_t, 1>,  \
                                                 ConstView<Acc<T>, 1>, double, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
