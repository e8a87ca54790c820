#pragma once
// Attention in fp32, on the ordinary units.

#include "kernels/attention/attention_list_device.h"

namespace galrec::attention_cuda {

template <class T>
void ffma_forward(CudaContext& ctx, const ForwardArgs<T>& args, const Extents& extents);
template <class T>
void ffma_backward(CudaContext& ctx, const BackwardArgs<T>& args, const Extents& extents);

}  // namespace galrec::attention_cuda
