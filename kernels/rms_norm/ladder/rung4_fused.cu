// RMSNorm, rung 4: the addition happens on the first walk over the row. One launch instead of two, and the stream does not travel
// to memory and back between them.

#include "kernels/common/launch.h"
#include "kernels/common/warp.h"
#include "kernels/rms_norm/ladder/rms_norm_ladder.h"

namespace galrec::ladder {

namespace {

constexpr int kWarps = 4;

__global__ void __launch_bounds__(kWarps* kWarpSize)
    fused_kernel(View<bfloat16, 2> y, View<float, 2> sum, View<const bfloat16, 2> x, View<const float, 2> residual,
                 View<const float, 1> weight, float eps) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id(), cols = y.cols();
  if (row >= y.rows()) return;
  float square = 0;
  for (std::int64_t c = lane_id(); c < cols; c += kWarpSize) {
    const float s = residual(row, c) + to_float(x(row, c));
    sum(row, c) = s;
    square += s * s;
  }
  const float r = rsqrtf(warp_sum(square) / static_cast<float>(cols) + eps);
  // A lane reads again what it wrote itself: no barrier is needed for that.
  for (std::int64_t c = lane_id(); c < cols; c += kWarpSize) y(row, c) = to_bf16(sum(row, c) * r * weight[c]);
}

}  // namespace

void rms_norm_fused(CudaContext& ctx, View<bfloat16, 2> y, View<float, 2> sum, View<const bfloat16, 2> x,
                    View<const float, 2> residual, View<const float, 1> weight, float eps) {
  check_rms_norm(y, sum, x, residual, weight);
  launch(fused_kernel, (y.rows() + kWarps - 1) / kWarps, dim3(kWarps * kWarpSize), 0, ctx.stream(), y, sum, x, residual, weight,
         eps);
}

}  // namespace galrec::ladder
