#pragma once
// The addition of the rungs that do not fuse it: a kernel of its own, one thread per element.

#include "kernels/common/launch.h"
#include "kernels/common/warp.h"
#include "kernels/rms_norm/ladder/rms_norm_ladder.h"

namespace galrec::ladder {

static __global__ void __launch_bounds__(256)
    residual_add_kernel(View<float, 2> sum, View<const bfloat16, 2> x, View<const float, 2> residual) {
  const std::int64_t row = blockIdx.x, column = static_cast<std::int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (column < sum.cols()) sum(row, column) = residual(row, column) + to_float(x(row, column));
}

/// sum = residual + x, all (N,C), N and C at least 1.
inline void residual_add(CudaContext& ctx, View<float, 2> sum, View<const bfloat16, 2> x, View<const float, 2> residual) {
  launch(residual_add_kernel, dim3(static_cast<unsigned>(sum.rows()), static_cast<unsigned>((sum.cols() + 255) / 256)), dim3(256),
         0, ctx.stream(), sum, x, residual);
}

}  // namespace galrec::ladder
