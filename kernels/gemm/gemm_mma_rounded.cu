// Products of fp32 matrices on the tensor cores: operands are rounded to bf16 on their way into shared memory.

#include "kernels/gemm/gemm_mma_launch.cuh"

namespace galrec::gemm_cuda {

void multiply_mma_rounded(CudaContext& ctx, View<float, 2> c, const Product<float>& p, const GemmOptions& options) {
  if (p.a.access == Access::kScalar || p.b.access == Access::kScalar) {
    run_mma<MmaElements, Major::kDepth, Major::kDepth, Fetch::kElements>(ctx, c, p, options);
  } else {
    run_mma_layout<MmaSmall, Fetch::kConvert>(ctx, c, p, options);
  }
}

}  // namespace galrec::gemm_cuda
