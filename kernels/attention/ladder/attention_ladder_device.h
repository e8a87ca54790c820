#pragma once
// What the rungs of attention share on the device: who does which part of the work, and the bias.

#include "kernels/attention/attention_device.h"
#include "kernels/attention/ladder/attention_ladder.h"

namespace galrec::ladder {

inline attention_cuda::Bias bias_of(const SelfAttention& x) {
  if (x.table.empty()) return {};
  return {x.table.data, x.table.stride[0], x.buckets.index.data, static_cast<int>(x.buckets.max_distance()),
          static_cast<int>(x.table.rows())};
}

/// A block's share of the work in the rungs: blockIdx.y is the prompt, blockIdx.z the head.
struct Prompt {
  std::int64_t begin;
  int tokens, head;
  __device__ __forceinline__ explicit Prompt(const SelfAttention& x)
      : begin(x.cu[blockIdx.y]), tokens(x.cu[blockIdx.y + 1] - x.cu[blockIdx.y]), head(static_cast<int>(blockIdx.z)) {}
  __device__ __forceinline__ int column() const { return head * kHeadDim; }
};

/// A block per `rows` queries of each prompt as if all were as long as the longest; those beyond a prompt's end leave at once.
inline dim3 grid_of(const SelfAttention& x, int rows) {
  return dim3(static_cast<unsigned>((x.longest + rows - 1) / rows), static_cast<unsigned>(x.batch()),
              static_cast<unsigned>(x.heads()));
}

}  // namespace galrec::ladder
