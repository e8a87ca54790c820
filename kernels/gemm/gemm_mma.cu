// Products of bf16 operands on the tensor cores.

#include "kernels/gemm/gemm_mma_launch.cuh"

namespace galrec::gemm_cuda {

template <class In, class Out>
void multiply_mma(CudaContext& ctx, View<Out, 2> c, const Product<In>& p, const GemmOptions& options) {
  if (p.a.access == Access::kScalar || p.b.access == Access::kScalar) {
    return run_mma<MmaElements, Major::kDepth, Major::kDepth, Fetch::kElements>(ctx, c, p, options);
  }
  if (fills_large_tiles(p.m, p.n, p.k)) {
    run_mma_layout<MmaLarge, Fetch::kAsync>(ctx, c, p, options);
  } else {
    run_mma_layout<MmaSmall, Fetch::kAsync>(ctx, c, p, options);
  }
}

template void multiply_mma<bfloat16, float>(CudaContext&, View<float, 2>, const Product<bfloat16>&, const GemmOptions&);
template void multiply_mma<bfloat16, bfloat16>(CudaContext&, View<bfloat16, 2>, const Product<bfloat16>&, const GemmOptions&);

}  // namespace galrec::gemm_cuda
