// Attention, rung 3: 64 queries of a block share tiles of 32 keys and values in shared memory. Each thread owns a query, with its
// output in registers: no shuffle, no sum across threads. All threads read the same key at the same time, a broadcast.

#include "kernels/attention/ladder/attention_ladder_device.h"
#include "kernels/common/launch.h"
#include "kernels/common/mma.h"
#include "kernels/common/rows_device.h"

namespace galrec::ladder {

namespace {

using attention_cuda::Bias;
using attention_cuda::kLog2e;

constexpr int kQueries = 64, kKeys = 32, kStep = 8;  // kStep scores between two looks at the maximum

struct Tiles {
  alignas(16) bfloat16 k[kKeys][kHeadDim];
  alignas(16) bfloat16 v[kKeys][kHeadDim];
};

__device__ __forceinline__ void copy(bfloat16 (&to)[kKeys][kHeadDim], const View<const bfloat16, 2>& from, std::int64_t row0,
                                     int column, int count) {
  constexpr int kChunks = kHeadDim / 8;
#pragma unroll
  for (int piece = thread_id(); piece < kKeys * kChunks; piece += kQueries) {
    const int r = piece / kChunks, d = piece % kChunks * 8;
    store16(&to[r][d], r < count ? load16(from.row(row0 + r) + column + d) : Pack<bfloat16>{});
  }
}

__global__ void __launch_bounds__(kQueries) shared_tiles_kernel(SelfAttention x, Bias bias) {
  auto& tile = block_shared<Tiles>();
  const Prompt prompt(x);
  const int first = static_cast<int>(blockIdx.x) * kQueries, i = first + thread_id();
  if (first >= prompt.tokens) return;  // the whole block: nobody waits for it at a barrier
  const bool mine = i < prompt.tokens;
  float q[kHeadDim] = {}, o[kHeadDim] = {}, top = -INFINITY, sum = 0;
#pragma unroll
  for (int d = 0; d < kHeadDim; d += 8) {
    float part[8] = {};
    if (mine) load_floats<8>(x.q.row(prompt.begin + i) + prompt.column() + d, part);
#pragma unroll
    for (int e = 0; e < 8; ++e) q[d + e] = part[e];
  }
  for (int j0 = 0; j0 < prompt.tokens; j0 += kKeys) {
    copy(tile.k, x.k, prompt.begin + j0, prompt.column(), prompt.tokens - j0);
    copy(tile.v, x.v, prompt.begin + j0, prompt.column(), prompt.tokens - j0);
    __syncthreads();
#pragma unroll 1
    for (int j = 0; j < kKeys; j += kStep) {
      float s[kStep], larger = top;
#pragma unroll
      for (int n = 0; n < kStep; ++n) {
        const int key = j0 + j + n;
        s[n] = bias.present() ? bias.at(key - i, prompt.head) : 0.0f;
#pragma unroll
        for (int d = 0; d < kHeadDim; d += 8) {
          const Pack<bfloat16> k = load16(&tile.k[j + n][d]);
#pragma unroll
          for (int e = 0; e < 8; ++e) s[n] += q[d + e] * to_float(k[e]);
        }
        if (key >= prompt.tokens) s[n] = -INFINITY;
        larger = fmaxf(larger, s[n]);
      }
      const float keep = exp2_approx((top - larger) * kLog2e);
      top = larger;
      sum *= keep;
#pragma unroll
      for (int d = 0; d < kHeadDim; ++d) o[d] *= keep;
#pragma unroll
      for (int n = 0; n < kStep; ++n) {
        const float p = exp2_approx((s[n] - top) * kLog2e);
        sum += p;
#pragma unroll
        for (int d = 0; d < kHeadDim; d += 8) {
          const Pack<bfloat16> v = load16(&tile.v[j + n][d]);
#pragma unroll
          for (int e = 0; e < 8; ++e) o[d + e] += p * to_float(v[e]);
        }
      }
    }
    __syncthreads();
  }
  if (!mine) return;
  const float scale = 1.0f / sum;
#pragma unroll
  for (int d = 0; d < kHeadDim; d += 8) {
    float part[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) part[e] = o[d + e] * scale;
    store_floats<8>(x.o.row(prompt.begin + i) + prompt.column() + d, part);
  }
  x.lse(prompt.begin + i, prompt.head) = top + logf(sum);
}

}  // namespace

void attention_shared_tiles(CudaContext& ctx, const SelfAttention& x) {
  check_attention(x);
  launch(shared_tiles_kernel, grid_of(x, kQueries), dim3(kQueries), sizeof(Tiles), ctx.stream(), x, bias_of(x));
}

}  // namespace galrec::ladder
