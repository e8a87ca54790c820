#pragma once
// Cross-entropy straight from the products of bf16 rows on the tensor cores, for CUDA: logits exist in registers only.

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec::cross_entropy_cuda {

/// Whether the rows of x and w can be copied 16 bytes at a time; otherwise the logits go through memory.
bool fits_tensor_cores(View<const bfloat16, 2> x, View<const bfloat16, 2> w);

/// lse and losses of rows x (R,C) against w (V,C). z = scale x w^T (+ bias).
void losses_of_products(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, View<const bfloat16, 2> x,
                        View<const bfloat16, 2> w, View<const float, 1> bias, View<const std::int32_t, 1> targets, float scale);

/// g (R,V) = dloss / rows (exp(z - lse) - onehot), rounded last. Rows of g are aligned to 16 bytes.
void gradients_of_products(CudaContext& ctx, View<bfloat16, 2> g, View<const bfloat16, 2> x, View<const bfloat16, 2> w,
                           View<const float, 1> bias, View<const std::int32_t, 1> targets, View<const float, 1> lse,
                           View<const float, 1> dloss, std::int64_t rows, float scale);

}  // namespace galrec::cross_entropy_cuda
