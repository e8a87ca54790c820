#pragma once
// Cross-entropy on a chunk of logits that lies in memory, for CUDA.

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec::cross_entropy_cuda {

/// lse and losses of rows of logits z (R,V), rows aligned to 16 bytes; bias (V) or empty is added to z.
void losses_of_logits(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, View<const float, 2> z, View<const float, 1> bias,
                      View<const std::int32_t, 1> targets);

/// g = dloss / rows (exp(z + bias - lse) - onehot), the one-hot subtracted before g is rounded. g and z (R,V), rows aligned to 16
/// bytes; for float g may be z.
template <class T>
void gradients_of_logits(CudaContext& ctx, View<T, 2> g, View<const float, 2> z, View<const float, 1> bias,
                         View<const std::int32_t, 1> targets, View<const float, 1> lse, View<const float, 1> dloss, std::int64_t rows);

/// loss = mean of losses, added in double in an order that depends on their number only.
void mean_of_losses(CudaContext& ctx, View<float, 1> loss, View<const float, 1> losses);

}  // namespace galrec::cross_entropy_cuda
