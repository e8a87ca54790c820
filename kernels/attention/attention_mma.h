#pragma once
// Attention in bf16, on the tensor cores.

#include "kernels/attention/attention_list_device.h"

namespace galrec::attention_cuda {

void mma_forward(CudaContext& ctx, const ForwardArgs<bfloat16>& args, const Extents& extents);
void mma_backward(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const Extents& extents);

/// Rows of a sequence whose backward one block does alone: what its registers hold of dk and dv without spilling.
constexpr int longest_whole(int dim) {
  return dim <= 64 ? 256 : 128;
}

/// Sequences of up to 16, 64, 128, 256 rows (longest_whole) are one item each; longer ones are cut into tiles of keys
/// and of queries.
struct BackwardLists {
  WorkList whole[4], keys, queries;
};
template <int kDim>
void mma_backward_keys(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const BackwardLists& lists);
template <int kDim>
void mma_backward_queries(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const BackwardLists& lists);

}  // namespace galrec::attention_cuda
