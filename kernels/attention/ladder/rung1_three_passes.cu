// Attention, rung 1: three kernels, one per line of the definition. The scores go to memory, (T, H, longest) of them, and are
// read again by each of the others.

#include "kernels/attention/ladder/attention_ladder_device.h"
#include "kernels/common/launch.h"

namespace galrec::ladder {

namespace {

using attention_cuda::Bias;

constexpr int kKeys = 32, kQueries = 8;

// Row of scores of a token and a head.
__device__ __forceinline__ float* scores_of(float* scores, const SelfAttention& x, std::int64_t token, int head) {
  return scores + (token * x.heads() + head) * x.longest;
}

// One thread per score: the lanes of a warp are 32 keys, and read as many rows.
__global__ void __launch_bounds__(kKeys* kQueries) scores_kernel(float* scores, SelfAttention x, Bias bias) {
  const Prompt prompt(x);
  const int tiles = static_cast<int>((x.longest + kKeys - 1) / kKeys);
  const int j = static_cast<int>(blockIdx.x) % tiles * kKeys + static_cast<int>(threadIdx.x);
  const int i = static_cast<int>(blockIdx.x) / tiles * kQueries + static_cast<int>(threadIdx.y);
  if (i >= prompt.tokens || j >= prompt.tokens) return;
  const bfloat16 *q = x.q.row(prompt.begin + i) + prompt.column(), *k = x.k.row(prompt.begin + j) + prompt.column();
  float s = bias.present() ? bias.at(j - i, prompt.head) : 0.0f;
  for (int d = 0; d < kHeadDim; ++d) s += to_float(q[d]) * to_float(k[d]);
  scores_of(scores, x, prompt.begin + i, prompt.head)[j] = s;
}

// One thread per row.
__global__ void __launch_bounds__(kKeys) softmax_kernel(float* scores, SelfAttention x) {
  const Prompt prompt(x);
  const int i = static_cast<int>(blockIdx.x) * kKeys + static_cast<int>(threadIdx.x);
  if (i >= prompt.tokens) return;
  float* s = scores_of(scores, x, prompt.begin + i, prompt.head);
  float top = -INFINITY, sum = 0;
  for (int j = 0; j < prompt.tokens; ++j) top = fmaxf(top, s[j]);
  for (int j = 0; j < prompt.tokens; ++j) sum += expf(s[j] - top);
  for (int j = 0; j < prompt.tokens; ++j) s[j] = expf(s[j] - top) / sum;
  x.lse(prompt.begin + i, prompt.head) = top + logf(sum);
}

// One thread per output: lanes are columns, and read along the rows of v.
__global__ void __launch_bounds__(kHeadDim) values_kernel(float* scores, SelfAttention x) {
  const Prompt prompt(x);
  const int i = static_cast<int>(blockIdx.x), d = prompt.column() + static_cast<int>(threadIdx.x);
  if (i >= prompt.tokens) return;
  const float* p = scores_of(scores, x, prompt.begin + i, prompt.head);
  float sum = 0;
  for (int j = 0; j < prompt.tokens; ++j) sum += p[j] * to_float(x.v(prompt.begin + j, d));
  x.o(prompt.begin + i, d) = to_bf16(sum);
}

}  // namespace

void attention_three_passes(CudaContext& ctx, const SelfAttention& x) {
  check_attention(x);
  ScratchScope scratch(ctx.scratch());
  float* scores = scratch->alloc<float>(x.q.rows() * x.heads() * x.longest);
  dim3 tiles = grid_of(x, kQueries);
  tiles.x *= grid_of(x, kKeys).x;
  launch(scores_kernel, tiles, dim3(kKeys, kQueries), 0, ctx.stream(), scores, x, bias_of(x));
  launch(softmax_kernel, grid_of(x, kKeys), dim3(kKeys), 0, ctx.stream(), scores, x);
  launch(values_kernel, grid_of(x, 1), dim3(kHeadDim), 0, ctx.stream(), scores, x);
}

}  // namespace galrec::ladder
