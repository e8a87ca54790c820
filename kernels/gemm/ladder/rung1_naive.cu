// gemm, rung 1: one thread per output, the definition word for word.

#include "kernels/common/launch.h"
#include "kernels/common/warp.h"
#include "kernels/gemm/ladder/gemm_ladder.h"

namespace galrec::ladder {

namespace {

constexpr int kRows = 8;

// A warp's lanes are 32 neighbours of a row of c: they read one element of a, and 32 rows of w.
__global__ void __launch_bounds__(kRows* kWarpSize)
    gemm_naive_kernel(View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.y) * kRows + threadIdx.y;
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * kWarpSize + threadIdx.x;
  if (i >= c.rows() || j >= c.cols()) return;
  float sum = 0;
  for (std::int64_t k = 0; k < a.cols(); ++k) sum += to_float(a(i, k)) * to_float(w(j, k));
  c(i, j) = to_bf16(sum);
}

}  // namespace

void gemm_naive(CudaContext& ctx, View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  check_gemm(c, a, w);
  const auto blocks = [](std::int64_t extent, int size) { return static_cast<unsigned>((extent + size - 1) / size); };
  launch(gemm_naive_kernel, dim3(blocks(c.cols(), kWarpSize), blocks(c.rows(), kRows)), dim3(kWarpSize, kRows), 0, ctx.stream(),
         c, a, w);
}

}  // namespace galrec::ladder
