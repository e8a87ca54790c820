// InfoNCE, rung 2: a warp takes an anchor and lets the queue stream past. Its lanes share the columns of a row, so that they read
// neighbouring addresses; of the scores only their running log-sum-exp is kept.

#include "kernels/common/launch.h"
#include "kernels/common/warp.h"
#include "kernels/info_nce/ladder/info_nce_ladder.h"
#include "kernels/info_nce/ladder/running_lse.h"

namespace galrec::ladder {

namespace {

constexpr int kWarps = 4;

__device__ __forceinline__ float warp_dot(const bfloat16* a, const bfloat16* b, std::int64_t cols) {
  float dot = 0;
  for (std::int64_t c = lane_id(); c < cols; c += kWarpSize) dot += to_float(a[c]) * to_float(b[c]);
  return warp_sum(dot);
}

__global__ void __launch_bounds__(kWarps* kWarpSize) streaming_kernel(View<float, 1> losses, View<float, 1> lse, NceInputs in) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id(), cols = in.anchor.cols();
  if (n >= in.anchor.rows()) return;
  const bfloat16* anchor = in.anchor.row(n);
  const float positive = warp_dot(anchor, in.positive.row(n), cols) / in.tau;
  RunningLse running;
  running.add(positive);
  for (std::int64_t q = 0; q < in.queue.rows(); ++q) {
    if (in.queue_ids[q] == in.own_ids[n]) continue;  // the same for all lanes
    running.add(warp_dot(anchor, in.queue.row(q), cols) / in.tau);
  }
  if (lane_id() != 0) return;
  lse[n] = running.value();
  losses[n] = running.value() - positive;
}

}  // namespace

void info_nce_streaming(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, const NceInputs& in) {
  check_info_nce(losses, lse, in);
  launch(streaming_kernel, (in.anchor.rows() + kWarps - 1) / kWarps, dim3(kWarps * kWarpSize), 0, ctx.stream(), losses, lse, in);
}

}  // namespace galrec::ladder
