#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <algorithm>

#include "kernels/gemm/gemm.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_rows.h"

namespace galrec {

namespace {

using namespace cross_entropy_cuda;

/// Rows whose logits or gradients lie in scratch at a time: 135 MB of bf16 for 66,000 columns.
template <class T>
constexpr std::int64_t kChunkRows = 2048 / static_cast<std::int64_t>(sizeof(T));

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

/// Calls body(first row, logits without the bias) for chunks of rows.
template <class T, class Body>
void for_each_chunk(CudaContext& ctx, const View<const T, 2>& x, const View<const T, 2>& w, double scale, const Body& body) {
  ScratchScope scratch(ctx.scratch());
  const std::int64_t n = x.rows(), chunk = std::min(kChunkRows<T>, n);
  const auto logits = chunk_matrix<float>(*scratch, chunk, w.rows());
  for (std::int64_t first = 0; first < n; first += chunk) {
    const auto z = logits.slice_rows(0, std::min(chunk, n - first));
    gemm<T>(ctx, z, x.slice_rows(first, z.rows()), w, {.b = Transpose::kYes, .alpha = scale});
    body(first, z);
  }
}

}  // namespace

template <class T>
void linear_cross_entropy_forward(CudaContext& ctx, View<Acc<T>, 1> loss, View<Acc<T>, 1> losses, View<Acc<T>, 1> lse, ConstView<T, 2> x,
                                  ConstView<T, 2> w, ConstView<Acc<T>, 1> bias, View<const std::int32_t, 1> targets, double scale) {
  check<T>(x, w, bias, targets);
  const std::int64_t n = x.rows();
  GALREC_CHECK(loss.extent(0) == 1 && losses.extent(0) == n && lse.extent(0) == n, "loss ({}), losses ({}), lse ({}) for {} rows",
               loss.extent(0), losses.extent(0), lse.extent(0), n);
  for_each_chunk<T>(ctx, x, w, scale, [&](std::int64_t first, View<float, 2> z) {
    losses_of_logits(ctx, losses.slice(first, z.rows()), lse.slice(first, z.rows()), z, bias, targets.slice(first, z.rows()));
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
  for_each_chunk<T>(ctx, x, w, scale, [&](std::int64_t first, View<float, 2> z) {
    const auto g = gradients.slice_rows(0, z.rows());
    gradients_of_logits<T>(ctx, g, z, bias, targets.slice(first, z.rows()), lse.slice(first, z.rows()), dloss, n);
    const Accumulate mode = first == 0 ? dw_accumulate : Accumulate::kAdd;
    if (dx) gemm<T>(ctx, dx.slice_rows(first, z.rows()), g, w, {.accumulate = dx_accumulate, .alpha = scale});
    if (dw) gemm<T>(ctx, dw, g, x.slice_rows(first, z.rows()), {.a = Transpose::kYes, .accumulate = mode, .alpha = scale});
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
