#pragma once
// The last linear layer and the softmax cross-entropy in one operation that never stores the N x V logits.
//
// Math      z_n = scale x_n w^T (+ bias);  loss = (1/N) sum_n (logsumexp_v z_nv - z_n,target)
// Shapes    x, dx (N,C) | w, dw (V,C) rows may be a slice of a larger head | bias, dbias (V) or empty | targets (N) int32 in [0,V)
//           loss (1) | lse, losses (N)
// Backward  g_nv = dloss/N (exp(z_nv - lse_n) - [v = target_n]);  dx = scale g w (+) | dw = scale g^T x (+) | dbias = sum_n g (+)
// Saved and aliasing  saved: x, w, targets, lse. No aliasing.
// Numerics and determinism  chunks of rows; logits of one chunk live in scratch and are recomputed in backward (8 N C V FLOPs in all);
//           fp32 log-sum-exp with exact maxima; the one-hot is subtracted in fp32; chunks are added to dw in order.
//           CUDA: a target out of range is reported (CudaContext::check_status), its row's loss is NaN. bf16: logits stay fp32, their
//           gradients are rounded to bf16 after the one-hot was subtracted. Fixed tiles, summed in order
// Launch    CPU: GEMM per chunk, rows of the chunk in parallel. CUDA, bf16 in rows aligned to 16 bytes: forward a block per 128 x 128
//           logits (64 x 64 up to 64 rows) that leaves a maximum and a sum of exponentials per row, then 32 rows a block over the
//           tiles; backward the same tiles become gradients of logits in registers, one exp per logit, for chunks of 1,024 rows
//           (2 x 1024 V bytes of scratch, at any N), then the products for dx and dw, which reads and writes dw once per chunk. Other
//           rows and fp32: logits of a chunk (512 rows of fp32) in scratch, a kernel over its rows. No host synchronisation
// Reference Wijmans et al. 2024 (Cut Your Losses); T5: scale d^-1/2 only for tied heads

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

template <class T>
void linear_cross_entropy_forward(CpuContext& ctx,
                                  View<T, 1> loss,                       // (1)
                                  View<T, 1> losses,                     // (N)
                                  View<T, 1> lse,                        // (N)
                                  ConstView<T, 2> x,                     // (N,C)
                                  ConstView<T, 2> w,                     // (V,C)
                                  ConstView<T, 1> bias,                  // (V) or empty
                                  View<const std::int32_t, 1> targets,   // (N)
                                  double scale);
template <class T>
void linear_cross_entropy_forward(CudaContext& ctx,
                                  View<Acc<T>, 1> loss,
                                  View<Acc<T>, 1> losses,
                                  View<Acc<T>, 1> lse,
                                  ConstView<T, 2> x,
                                  ConstView<T, 2> w,
                                  ConstView<Acc<T>, 1> bias,
                                  View<const std::int32_t, 1> targets,
                                  double scale);

template <class T>
void linear_cross_entropy_backward(CpuContext& ctx,
                                   View<T, 2> dx,                        // (N,C) or empty
                                   View<T, 2> dw,                        // (V,C) or empty
                                   View<T, 1> dbias,                     // (V) or empty
                                   ConstView<Acc<T>, 1> dloss,           // (1)
                                   ConstView<T, 2> x, ConstView<T, 2> w, ConstView<T, 1> bias,
                                   View<const std::int32_t, 1> targets,
                                   ConstView<T, 1> lse,                  // (N)
                                   double scale,
                                   Accumulate dx_accumulate,
                                   Accumulate dw_accumulate);            // of dw and dbias
template <class T>
void linear_cross_entropy_backward(CudaContext& ctx,
                                   View<T, 2> dx,
                                   View<Acc<T>, 2> dw,
                                   View<Acc<T>, 1> dbias,
                                   ConstView<Acc<T>, 1> dloss,
                                   ConstView<T, 2> x, ConstView<T, 2> w, ConstView<Acc<T>, 1> bias,
                                   View<const std::int32_t, 1> targets,
                                   ConstView<Acc<T>, 1> lse,
                                   double scale,
                                   Accumulate dx_accumulate,
                                   Accumulate dw_accumulate);

}  // namespace galrec
