#include "kernels/attention/attention_mma.h"

#include "kernels/attention/attention_ffma.h"

namespace galrec::attention_cuda {

void mma_backward(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const Extents& extents) {
  ffma_backward(ctx, args, extents);
}

}  // namespace galrec::attention_cuda
