#pragma once
// The ladder of RMSNorm behind a residual addition, the pre-norm step of every T5 block: sum = residual + x, y = sum w rstd(sum).
//
// Shapes    x, y (N,C) bf16 | residual, sum (N,C) fp32 | weight (C) fp32; production also takes rows that start anywhere
// Numerics  as kernels/rms_norm/rms_norm.h without dropout: fp32 statistics, y rounded once
// Floor     12 bytes an element: x and residual read, sum and y written

#include "kernels/common/rung.h"
#include "kernels/rms_norm/rms_norm.h"

namespace galrec::ladder {

using RmsNorm = void(CudaContext& ctx, View<bfloat16, 2> y,  // (N,C)
                     View<float, 2> sum,                     // (N,C)
                     View<const bfloat16, 2> x,              // (N,C)
                     View<const float, 2> residual,          // (N,C)
                     View<const float, 1> weight,            // (C)
                     float eps);

RmsNorm rms_norm_thread_per_row;  // rung1_thread_per_row.cu
RmsNorm rms_norm_block_per_row;   // rung2_block_per_row.cu
RmsNorm rms_norm_warp_per_row;    // rung3_warp_per_row.cu
RmsNorm rms_norm_fused;           // rung4_fused.cu
/// kernels/common/norm_device.h through the contract of kernels/rms_norm/rms_norm.h.
inline void rms_norm_production(CudaContext& ctx, View<bfloat16, 2> y, View<float, 2> sum, View<const bfloat16, 2> x,
                                View<const float, 2> residual, View<const float, 1> weight, float eps) {
  ScratchScope scratch(ctx.scratch());
  const View<float, 1> rstd = scratch->vector<float>(y.rows());
  rms_norm_forward<bfloat16>(ctx, y, sum, rstd, x, residual, weight, {.eps = static_cast<double>(eps)});
}

inline constexpr Rung<RmsNorm> kRmsNormRungs[] = {
    {"thread per row", "an addition, then a norm; each row is one thread's", Units::kOrdinary, rms_norm_thread_per_row},
    {"block per row", "neighbouring threads, neighbouring columns; sums meet in shared memory", Units::kOrdinary,
     rms_norm_block_per_row},
    {"warp per row", "sums meet in registers, by shuffles; no barrier", Units::kOrdinary, rms_norm_warp_per_row},
    {"fused", "the addition joins the norm: one launch, the stream is read once less", Units::kOrdinary, rms_norm_fused},
    {"production", "16 bytes an access, the row stays in registers", Units::kOrdinary, rms_norm_production},
};

/// CheckError unless the operands fit together.
inline void check_rms_norm(const View<bfloat16, 2>& y, const View<float, 2>& sum, const View<const bfloat16, 2>& x,
                           const View<const float, 2>& residual, const View<const float, 1>& weight) {
  GALREC_CHECK(sum.shape == y.shape && x.shape == y.shape && residual.shape == y.shape && weight.extent(0) == y.cols(),
               "y ({}, {}), sum ({}, {}), x ({}, {}), residual ({}, {}), weight ({})", y.rows(), y.cols(), sum.rows(), sum.cols(),
               x.rows(), x.cols(), residual.rows(), residual.cols(), weight.extent(0));
}

}  // namespace galrec::ladder
