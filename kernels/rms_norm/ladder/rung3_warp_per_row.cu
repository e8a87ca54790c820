// RMSNorm, rung 3: a warp takes a row. 32 partial sums meet in five shuffles, from register to register; nobody waits at a
// barrier.

#include "kernels/rms_norm/ladder/residual_add.h"

namespace galrec::ladder {

namespace {

constexpr int kWarps = 4;

__global__ void __launch_bounds__(kWarps* kWarpSize)
    warp_per_row_kernel(View<bfloat16, 2> y, View<const float, 2> sum, View<const float, 1> weight, float eps) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id(), cols = y.cols();
  if (row >= y.rows()) return;
  float square = 0;
  for (std::int64_t c = lane_id(); c < cols; c += kWarpSize) square += sum(row, c) * sum(row, c);
  const float r = rsqrtf(warp_sum(square) / static_cast<float>(cols) + eps);
  for (std::int64_t c = lane_id(); c < cols; c += kWarpSize) y(row, c) = to_bf16(sum(row, c) * r * weight[c]);
}

}  // namespace

void rms_norm_warp_per_row(CudaContext& ctx, View<bfloat16, 2> y, View<float, 2> sum, View<const bfloat16, 2> x,
                           View<const float, 2> residual, View<const float, 1> weight, float eps) {
  check_rms_norm(y, sum, x, residual, weight);
  residual_add(ctx, sum, x, residual);
  launch(warp_per_row_kernel, (y.rows() + kWarps - 1) / kWarps, dim3(kWarps * kWarpSize), 0, ctx.stream(), y,
         View<const float, 2>(sum), weight, eps);
}

}  // namespace galrec::ladder
