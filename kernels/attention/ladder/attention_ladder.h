#pragma once
// The ladder of attention, forward: self-attention over packed prompts with T5's relative bias.
//
// Math      s_ij = q_i.k_j + table[bucket(j - i), h];  o_i = sum_j softmax(s_i)_j v_j;  lse_i = log sum_j exp s_ij
//           per prompt and head; no scale, as in T5
// Shapes    q, k, v, o (T, 64 H) bf16, rows at multiples of 16 bytes | lse (T,H) fp32 | cu (B+1) int32 offsets, cu[0] = 0
//           table (buckets,H) fp32 | buckets.index (2M+1), as kernels/attention/attention.h; none of either: no bias
// Numerics  fp32 softmax; rungs on the tensor cores round p to bf16, as production does

#include "kernels/attention/attention.h"
#include "kernels/common/host_device.h"
#include "kernels/common/rung.h"

namespace galrec::ladder {

inline constexpr int kHeadDim = 64;

struct SelfAttention {
  View<bfloat16, 2> o;              // (T,64 H)
  View<float, 2> lse;               // (T,H)
  View<const bfloat16, 2> q, k, v;  // (T,64 H)
  View<const std::int32_t, 1> cu;   // (B+1)
  std::int64_t longest;             // the longest prompt's tokens, or more
  View<const float, 2> table;       // (buckets,H) or empty
  RelativeBuckets buckets;

  GALREC_HOST_DEVICE std::int64_t batch() const { return cu.extent(0) - 1; }
  GALREC_HOST_DEVICE int heads() const { return static_cast<int>(lse.cols()); }
};

using Attention = void(CudaContext& ctx, const SelfAttention& x);

Attention attention_three_passes;  // rung1_three_passes.cu
Attention attention_online;        // rung2_online.cu
Attention attention_shared_tiles;  // rung3_shared_tiles.cu
Attention attention_tensor_cores;  // rung4_tensor_cores.cu
/// kernels/attention/attention_mma_forward.cu through the contract of attention.h.
inline void attention_production(CudaContext& ctx, const SelfAttention& x) {
  attention_forward<bfloat16>(ctx, x.o, x.lse, x.q, x.k, x.v, x.cu, x.cu, x.table, x.buckets, {.heads = x.heads()});
}

inline constexpr Rung<Attention> kAttentionRungs[] = {
    {"three passes", "scores to memory, softmax in place, times values", Units::kOrdinary, attention_three_passes},
    {"online softmax", "a warp per query; old sums are rescaled when the maximum grows", Units::kOrdinary, attention_online},
    {"shared tiles", "64 queries share each tile of keys and values", Units::kOrdinary, attention_shared_tiles},
    {"tensor cores", "both products by mma.sync; p goes from result to operand in registers", Units::kTensorCores,
     attention_tensor_cores},
    {"production", "work list, bias window, copies that run ahead, whole sectors out", Units::kTensorCores, attention_production},
};

/// CheckError unless the operands meet the ladder's contract.
inline void check_attention(const SelfAttention& x) {
  GALREC_CHECK(x.q.cols() == std::int64_t{kHeadDim} * x.heads() && x.k.shape == x.q.shape && x.v.shape == x.q.shape &&
                   x.o.shape == x.q.shape && x.lse.rows() == x.q.rows(),
               "q ({}, {}), lse ({}, {}): heads of {} columns, k, v and o like q", x.q.rows(), x.q.cols(), x.lse.rows(),
               x.lse.cols(), kHeadDim);
  for (const auto stride : {x.o.stride[0], x.q.stride[0], x.k.stride[0], x.v.stride[0]})
    GALREC_CHECK(stride % 8 == 0, "rows {} elements apart, expected a multiple of 8", stride);
}

}  // namespace galrec::ladder
