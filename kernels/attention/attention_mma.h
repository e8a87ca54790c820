#pragma once
// Attention in bf16, on the tensor cores.

#include "kernels/attention/attention_list.h"

namespace galrec::attention_cuda {

void mma_forward(CudaContext& ctx, const ForwardArgs<bfloat16>& args, const Extents& extents);
void mma_backward(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const Extents& extents);

}  // namespace galrec::attention_cuda
