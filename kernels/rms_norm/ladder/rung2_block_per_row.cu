// RMSNorm, rung 2: a block takes a row. Neighbouring threads hold neighbouring columns, so that a warp reads whole sectors; the
// 256 partial sums meet in shared memory, halving their number between barriers.

#include "kernels/rms_norm/ladder/residual_add.h"

namespace galrec::ladder {

namespace {

constexpr int kThreads = 256;

struct Partial {
  float square[kThreads];
};

__global__ void __launch_bounds__(kThreads)
    block_per_row_kernel(View<bfloat16, 2> y, View<const float, 2> sum, View<const float, 1> weight, float eps) {
  auto& partial = block_shared<Partial>();
  const std::int64_t row = blockIdx.x, cols = y.cols();
  const int t = thread_id();
  float mine = 0;
  for (std::int64_t c = t; c < cols; c += kThreads) mine += sum(row, c) * sum(row, c);
  partial.square[t] = mine;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (t < half) partial.square[t] += partial.square[t + half];
    __syncthreads();
  }
  const float r = rsqrtf(partial.square[0] / static_cast<float>(cols) + eps);
  for (std::int64_t c = t; c < cols; c += kThreads) y(row, c) = to_bf16(sum(row, c) * r * weight[c]);
}

}  // namespace

void rms_norm_block_per_row(CudaContext& ctx, View<bfloat16, 2> y, View<float, 2> sum, View<const bfloat16, 2> x,
                            View<const float, 2> residual, View<const float, 1> weight, float eps) {
  check_rms_norm(y, sum, x, residual, weight);
  residual_add(ctx, sum, x, residual);
  launch(block_per_row_kernel, y.rows(), dim3(kThreads), sizeof(Partial), ctx.stream(), y, View<const float, 2>(sum), weight,
         eps);
}

}  // namespace galrec::ladder
