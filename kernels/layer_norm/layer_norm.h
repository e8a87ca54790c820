#pragma once
// LayerNorm with fused residual addition and dropout, the post-norm step of SASRec and BERT4Rec.
//
// Math      sum = residual + dropout(x)  (sum = x where there is no residual)
//           y = (sum - mean) r w + b,  r = rsqrt(var_c sum + eps), var divides by C
// Shapes    x, residual, sum, y, dx, dresidual, dy, dsum (N,C) | weight, bias, dweight, dbias (C) | mean, rstd (N). Of T = bfloat16
//           are x, y, dx, dy; everything else is Acc<T>
// Backward  h = (sum - mean) r;  n = r (dy w - mean_c(dy w) - h mean_c(h dy w)) + dsum;  dresidual = n (+);
//           dx = dropout'(n) (+);  dweight = sum_n dy h (+);  dbias = sum_n dy (+)
// Saved and aliasing  as rms_norm.h, CUDA's further forms included: saved sum, mean, rstd
// Numerics and determinism  two-pass fp32 statistics; weight gradients in fixed row slabs in slab order; CUDA as rms_norm.h
// Launch    CPU: rows in parallel. CUDA: the kernels of rms_norm.h (kernels/common/norm_device.h) with a mean and a bias; the same
//           bytes per element
// Reference Ba et al. 2016; eps 1e-12 in S3-Rec

#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "kernels/common/view.h"

namespace galrec {

struct LayerNormOptions {
  double eps = 1e-12;
  Dropout dropout{};  // on x before it joins the residual; only with a residual
};

template <class T>
void layer_norm_forward(CpuContext& ctx,
                        View<T, 2> y,              // (N,C)
                        View<T, 2> sum,            // (N,C), empty without residual
                        View<T, 1> mean,           // (N)
                        View<T, 1> rstd,           // (N)
                        ConstView<T, 2> x,         // (N,C)
                        ConstView<T, 2> residual,  // (N,C) or empty
                        ConstView<T, 1> weight,    // (C)
                        ConstView<T, 1> bias,      // (C)
                        const LayerNormOptions& options);
template <class T>
void layer_norm_forward(CudaContext& ctx,
                        View<T, 2> y,
                        View<Acc<T>, 2> sum,
                        View<Acc<T>, 1> mean,
                        View<Acc<T>, 1> rstd,
                        ConstView<T, 2> x,              // (N,C), or empty: the residual alone
                        ConstView<Acc<T>, 2> residual,
                        ConstView<Acc<T>, 1> weight,
                        ConstView<Acc<T>, 1> bias,
                        const LayerNormOptions& options);

template <class T>
void layer_norm_backward(CpuContext& ctx,
                         View<T, 2> dx,            // (N,C) or empty
                         View<T, 2> dresidual,     // (N,C) or empty; may alias dsum
                         View<T, 1> dweight,       // (C) or empty
                         View<T, 1> dbias,         // (C) or empty
                         ConstView<T, 2> dy,       // (N,C)
                         ConstView<T, 2> dsum,     // (N,C) or empty
                         ConstView<T, 2> sum,      // (N,C)
                         ConstView<T, 1> weight,   // (C)
                         ConstView<T, 1> mean,     // (N)
                         ConstView<T, 1> rstd,     // (N)
                         const LayerNormOptions& options,
                         Accumulate dx_accumulate,
                         Accumulate dresidual_accumulate,
                         Accumulate dweight_accumulate);  // of dweight and dbias
template <class T>
void layer_norm_backward(CudaContext& ctx,
                         View<T, 2> dx,
                         View<Acc<T>, 2> dresidual,
                         View<Acc<T>, 1> dweight,
                         View<Acc<T>, 1> dbias,
                         ConstView<T, 2> dy,
                         ConstView<Acc<T>, 2> dsum,
                         ConstView<Acc<T>, 2> sum,
                         ConstView<Acc<T>, 1> weight,
                         ConstView<Acc<T>, 1> mean,
                         ConstView<Acc<T>, 1> rstd,
                         const LayerNormOptions& options,
                         Accumulate dx_accumulate,
                         Accumulate dresidual_accumulate,
                         Accumulate dweight_accumulate);

}  // namespace galrec
