// Attention, rung 4: both products by mma.sync. Four warps own 16 queries each and share tiles of 64 keys and values. Where
// mma.sync leaves a score is where it wants the left operand of the next product: p never leaves the registers of its lane.

#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/ladder/attention_ladder_device.h"
#include "kernels/common/launch.h"

namespace galrec::ladder {

namespace {

using namespace attention_cuda;

constexpr int kWarps = 4, kQueries = 16 * kWarps, kKeys = 64, kThreads = kWarps * kWarpSize;

struct Tiles {
  alignas(16) bfloat16 q[kQueries * kHeadDim];  // rows swizzled in chunks of 16 bytes (attention_mma.cuh)
  alignas(16) bfloat16 k[kKeys * kHeadDim];
  alignas(16) bfloat16 v[kKeys * kHeadDim];
};

// `count` rows of a head, zeros after them.
__device__ __forceinline__ void copy(bfloat16* to, const View<const bfloat16, 2>& from, std::int64_t row0, int column,
                                     int count) {
  constexpr int kChunks = kHeadDim / 8;
#pragma unroll
  for (int piece = thread_id(); piece < kKeys * kChunks; piece += kThreads) {
    const int r = piece / kChunks, chunk = piece % kChunks;
    store16(to + swizzled<kHeadDim>(r, chunk), r < count ? load16(from.row(row0 + r) + column + chunk * 8) : Pack<bfloat16>{});
  }
}

__global__ void __launch_bounds__(kThreads) tensor_cores_kernel(SelfAttention x, Bias bias) {
  static_assert(kKeys == kQueries, "one copy for both");
  auto& tile = block_shared<Tiles>();
  const Prompt prompt(x);
  const int first = static_cast<int>(blockIdx.x) * kQueries;
  if (first >= prompt.tokens) return;
  // A lane holds columns 2t, 2t + 1 of every eight, of rows g and g + 8 of its warp's sixteen.
  const int g = lane_id() / 4, t = lane_id() % 4, i0 = first + 16 * warp_id() + g;
  copy(tile.q, x.q, prompt.begin + first, prompt.column(), prompt.tokens - first);
  float out[kHeadDim / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  for (int j0 = 0; j0 < prompt.tokens; j0 += kKeys) {
    copy(tile.k, x.k, prompt.begin + j0, prompt.column(), prompt.tokens - j0);
    copy(tile.v, x.v, prompt.begin + j0, prompt.column(), prompt.tokens - j0);
    __syncthreads();
    float p[kKeys / 8][4];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        p[n][e] = bias.present() ? bias.at(j0 + 8 * n + 2 * t + e % 2 - i0 - e / 2 * 8, prompt.head) : 0.0f;
    times_rows<kHeadDim, kKeys / 8>(p, tile.q, 16 * warp_id(), tile.k, 0);  // p += q k^T
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // the online softmax of rung 2, for rows g and g + 8
      float larger = top[half];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          if (j0 + 8 * n + 2 * t + e % 2 >= prompt.tokens) p[n][e] = -INFINITY;
          larger = fmaxf(larger, p[n][e]);
        }
      larger = warp_max<4>(larger);
      const float keep = exp2_approx((top[half] - larger) * kLog2e);
      top[half] = larger;
      sum[half] *= keep;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          p[n][e] = exp2_approx((p[n][e] - larger) * kLog2e);
          sum[half] += p[n][e];
          out[n][e] *= keep;  // as many columns as keys: 64
        }
    }
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      Registers4 left;
      as_left(left, p, k);
      times_columns<kHeadDim>(out, left, tile.v, 16 * k);  // out += p v
    }
    __syncthreads();
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float all = warp_sum<4>(sum[half]);
    const int i = i0 + 8 * half;
    if (i >= prompt.tokens) continue;
    bfloat16* o = x.o.row(prompt.begin + i) + prompt.column();
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) o[8 * n + 2 * t + e] = to_bf16(out[n][2 * half + e] / all);
    if (t == 0) x.lse(prompt.begin + i, prompt.head) = top[half] + logf(all);
  }
}

}  // namespace

void attention_tensor_cores(CudaContext& ctx, const SelfAttention& x) {
  check_attention(x);
  launch(tensor_cores_kernel, grid_of(x, kQueries), dim3(kThreads), sizeof(Tiles), ctx.stream(), x, bias_of(x));
}

}  // namespace galrec::ladder
