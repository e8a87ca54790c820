// RMSNorm, rung 1: as one writes it for a CPU. A thread takes a row and walks it twice.

#include "kernels/rms_norm/ladder/residual_add.h"

namespace galrec::ladder {

namespace {

// At each step the lanes of a warp are in the same column of 32 rows: 32 sectors for 32 numbers.
__global__ void __launch_bounds__(128)
    thread_per_row_kernel(View<bfloat16, 2> y, View<const float, 2> sum, View<const float, 1> weight, float eps) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * 128 + threadIdx.x, cols = y.cols();
  if (row >= y.rows()) return;
  float square = 0;
  for (std::int64_t c = 0; c < cols; ++c) square += sum(row, c) * sum(row, c);
  const float r = rsqrtf(square / static_cast<float>(cols) + eps);
  for (std::int64_t c = 0; c < cols; ++c) y(row, c) = to_bf16(sum(row, c) * r * weight[c]);
}

}  // namespace

void rms_norm_thread_per_row(CudaContext& ctx, View<bfloat16, 2> y, View<float, 2> sum, View<const bfloat16, 2> x,
                             View<const float, 2> residual, View<const float, 1> weight, float eps) {
  check_rms_norm(y, sum, x, residual, weight);
  residual_add(ctx, sum, x, residual);
  launch(thread_per_row_kernel, (y.rows() + 127) / 128, dim3(128), 0, ctx.stream(), y, View<const float, 2>(sum), weight, eps);
}

}  // namespace galrec::ladder
