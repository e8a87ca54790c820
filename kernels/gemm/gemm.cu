#include "kernels/gemm/gemm.h"

#include "kernels/common/elementwise.h"
#include "kernels/gemm/gemm_device.h"

namespace galrec {

namespace {

using namespace gemm_cuda;

template <class In, class Out>
Product<In> checked(const View<Out, 2>& c, const View<const In, 2>& a, const View<const In, 2>& b, const GemmOptions& o) {
  const bool ta = o.a == Transpose::kYes, tb = o.b == Transpose::kYes;
  const std::int64_t m = ta ? a.cols() : a.rows(), k = ta ? a.rows() : a.cols();
  const std::int64_t kb = tb ? b.cols() : b.rows(), n = tb ? b.rows() : b.cols();
  GALREC_CHECK(c.rows() == m && c.cols() == n && k == kb, "c ({}, {}) = op(a) ({}, {}) op(b) ({}, {})", c.rows(), c.cols(), m, k, kb, n);
  GALREC_CHECK(c.rows() <= 1 || c.stride[0] >= c.cols());
  GALREC_CHECK(a.rows() <= 1 || a.stride[0] >= a.cols());
  GALREC_CHECK(b.rows() <= 1 || b.stride[0] >= b.cols());
  return {m, n, k, operand_of<In>(a, ta ? Major::kEdge : Major::kDepth), operand_of<In>(b, tb ? Major::kDepth : Major::kEdge)};
}

template <class In, class Out>
void multiply(CudaContext& ctx, View<Out, 2> c, const View<const In, 2>& a, const View<const In, 2>& b, const GemmOptions& options) {
  const Product<In> p = checked<In>(c, a, b, options);
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    if (options.accumulate == Accumulate::kOverwrite) fill<Out>(ctx, c, 0);
    return;
  }
  GALREC_CHECK(p.k <= INT32_MAX, "a depth of {}", p.k);
  const bool full = std::is_same_v<In, bfloat16> || ctx.gemm_precision() == GemmPrecision::kFull;
  if (full && multiply_cublaslt<In, Out>(ctx, c, p, options)) return;
  if constexpr (std::is_same_v<In, bfloat16>) {
    multiply_mma<In, Out>(ctx, c, p, options);
  } else if (ctx.gemm_precision() == GemmPrecision::kBf16) {
    multiply_mma_rounded(ctx, c, p, options);
  } else if (ctx.gemm_precision() == GemmPrecision::kTf32) {
    multiply_tf32(ctx, c, p, options);
  } else {
    multiply_ffma<In, Out>(ctx, c, p, options);
  }
}

}  // namespace

template <class T>
void gemm(CudaContext& ctx, View<T, 2> c, ConstView<T, 2> a, ConstView<T, 2> b, const GemmOptions& options) {
  multiply<T, T>(ctx, c, a, b, options);
}

template <class T>
  requires(!std::is_same_v<T, Acc<T>>)
void gemm(CudaContext& ctx, View<Acc<T>, 2> c, ConstView<T, 2> a, ConstView<T, 2> b, const GemmOptions& options) {
  multiply<T, Acc<T>>(ctx, c, a, b, options);
}

template void gemm<float>(CudaContext&, View<float, 2>, ConstView<float, 2>, ConstView<float, 2>, const GemmOptions&);
template void gemm<bfloat16>(CudaContext&, View<bfloat16, 2>, ConstView<bfloat16, 2>, ConstView<bfloat16, 2>, const GemmOptions&);
template void gemm<bfloat16>(CudaContext&, View<float, 2>, ConstView<bfloat16, 2>, ConstView<bfloat16, 2>, const GemmOptions&);

}  // namespace galrec
