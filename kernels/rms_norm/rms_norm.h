#pragma once
// RMSNorm with fused residual addition and dropout, the pre-norm step of T5.
//
// Math      sum = residual + dropout(x)  (sum = x where there is no residual);  y = sum * r * w,  r = rsqrt(mean_c sum^2 + eps)
// Shapes    x, residual, sum, y, dx, dresidual, dy, dsum (N,C) | weight, dweight (C) | rstd (N). Of T = bfloat16 are x, y, dx, dy;
//           the stream, the statistics, the weights and their gradients are Acc<T>
// Backward  n = r (dy w - sum r^2 mean_c(sum dy w)) + dsum; dresidual = n (+); dx = dropout'(n) (+); dweight = sum_n dy sum r (+)
// Saved and aliasing  saved: sum, rstd. Forward: without residual pass sum empty: x itself is saved and read as `sum` in backward;
//           sum may alias residual or x. Backward: dresidual may alias dsum (the usual case: the gradient of the
//           stream flows through); dx may be empty (not wanted). Without residual pass dresidual empty and dx gets n.
//           CUDA also normalises the stream alone: x empty, residual is saved and read as `sum`, dx empty. A bf16 x alone cannot
//           be read as `sum`: there `sum` may be given and gets x in fp32.
// Numerics and determinism  no mean, no bias; fp32 statistics; dweight is summed in fixed row slabs (kNormSlabRows) in slab order;
//           the dropout mask is regenerated (kernels/common/dropout.h), element n * dropout_row_stride(C) + c. CUDA: within a slab
//           rows go to eight warps, whose sums are added in order; y and dx are rounded to bf16 once
// Launch    CPU: rows in parallel. CUDA: C <= 1024 and rows aligned to 4 elements: a warp holds a row in registers, 4 columns
//           (16 bytes of the stream, 8 of bf16) a lane and vector; forward 4 warps a block, up to 8 rows a warp; backward a block
//           of 8 warps per slab, 32 C bytes of shared memory, then a kernel that adds the slabs. Bytes per element, bf16 (fp32):
//           forward 12 (16) with a residual, 6 (8) without; backward 16 (20), 12 (16) without dsum; weights and slabs below 5 %.
//           Other rows: a warp walks the row once per pass. No host synchronisation
// Reference Zhang & Sennrich 2019, eq. 4; T5LayerNorm

#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "kernels/common/view.h"

namespace galrec {

struct RmsNormOptions {
  double eps = 1e-6;
  Dropout dropout{};  // on x before it joins the residual; only with a residual
};

template <class T>
void rms_norm_forward(CpuContext& ctx,
                      View<T, 2> y,              // (N,C)
                      View<T, 2> sum,            // (N,C), empty without residual
                      View<T, 1> rstd,           // (N)
                      ConstView<T, 2> x,         // (N,C)
                      ConstView<T, 2> residual,  // (N,C) or empty
                      ConstView<T, 1> weight,    // (C)
                      const RmsNormOptions& options);
template <class T>
void rms_norm_forward(CudaContext& ctx,
                      View<T, 2> y,
                      View<Acc<T>, 2> sum,
                      View<Acc<T>, 1> rstd,
                      ConstView<T, 2> x,              // (N,C), or empty: the residual alone
                      ConstView<Acc<T>, 2> residual,
                      ConstView<Acc<T>, 1> weight,
                      const RmsNormOptions& options);

template <class T>
void rms_norm_backward(CpuContext& ctx,
                       View<T, 2> dx,            // (N,C) or empty
                       View<T, 2> dresidual,     // (N,C) or empty; may alias dsum
                       View<T, 1> dweight,       // (C) or empty
                       ConstView<T, 2> dy,       // (N,C)
                       ConstView<T, 2> dsum,     // (N,C) or empty: gradient that reached `sum` by other ways
                       ConstView<T, 2> sum,      // (N,C)
                       ConstView<T, 1> weight,   // (C)
                       ConstView<T, 1> rstd,     // (N)
                       const RmsNormOptions& options,
                       Accumulate dx_accumulate,
                       Accumulate dresidual_accumulate,  // kOverwrite when dresidual aliases dsum
                       Accumulate dweight_accumulate);
template <class T>
void rms_norm_backward(CudaContext& ctx,
                       View<T, 2> dx,
                       View<Acc<T>, 2> dresidual,
                       View<Acc<T>, 1> dweight,
                       ConstView<T, 2> dy,
                       ConstView<Acc<T>, 2> dsum,
                       ConstView<Acc<T>, 2> sum,
                       ConstView<Acc<T>, 1> weight,
                       ConstView<Acc<T>, 1> rstd,
                       const RmsNormOptions& options,
                       Accumulate dx_accumulate,
                       Accumulate dresidual_accumulate,
                       Accumulate dweight_accumulate);

}  // namespace galrec
