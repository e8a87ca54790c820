// Attention, rung 2: a warp takes a query and meets the keys one by one. Its lanes hold the query and the output, two columns
// each; no score goes to memory. The softmax needs the maximum before it is known: what was summed is rescaled whenever it grows.

#include "kernels/attention/ladder/attention_ladder_device.h"
#include "kernels/common/launch.h"
#include "kernels/common/mma.h"

namespace galrec::ladder {

namespace {

using attention_cuda::Bias;
using attention_cuda::kLog2e;

constexpr int kWarps = 8;

__global__ void __launch_bounds__(kWarps* kWarpSize) online_kernel(SelfAttention x, Bias bias) {
  const Prompt prompt(x);
  const int i = static_cast<int>(blockIdx.x) * kWarps + warp_id(), low = prompt.column() + lane_id(), high = low + kWarpSize;
  if (i >= prompt.tokens) return;
  const std::int64_t token = prompt.begin + i;
  const float q_low = to_float(x.q(token, low)), q_high = to_float(x.q(token, high));
  float top = -INFINITY, sum = 0, o_low = 0, o_high = 0;
  for (int j = 0; j < prompt.tokens; ++j) {
    const std::int64_t key = prompt.begin + j;
    float s = warp_sum(q_low * to_float(x.k(key, low)) + q_high * to_float(x.k(key, high)));
    if (bias.present()) s += bias.at(j - i, prompt.head);
    const float larger = fmaxf(top, s);
    const float keep = exp2_approx((top - larger) * kLog2e), p = exp2_approx((s - larger) * kLog2e);
    top = larger;
    sum = sum * keep + p;
    o_low = o_low * keep + p * to_float(x.v(key, low));
    o_high = o_high * keep + p * to_float(x.v(key, high));
  }
  x.o(token, low) = to_bf16(o_low / sum);
  x.o(token, high) = to_bf16(o_high / sum);
  if (lane_id() == 0) x.lse(token, prompt.head) = top + logf(sum);
}

}  // namespace

void attention_online(CudaContext& ctx, const SelfAttention& x) {
  check_attention(x);
  launch(online_kernel, grid_of(x, kWarps), dim3(kWarps * kWarpSize), 0, ctx.stream(), x, bias_of(x));
}

}  // namespace galrec::ladder
