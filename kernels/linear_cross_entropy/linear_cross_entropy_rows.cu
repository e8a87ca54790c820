#include "kernels/linear_cross_entropy/linear_cross_entropy_rows_device.h"

#include <cmath>

#include "kernels/common/device_status.h"
#include "kernels/common/rows_device.h"

namespace galrec::cross_entropy_cuda {

namespace {

constexpr int kRowThreads = 256, kMeanThreads = 1024;

/// Four logits of a row with their biases; -inf beyond the row's end.
__device__ __forceinline__ void load_logits(float (&value)[4], const float* z, const View<const float, 1>& bias, std::int64_t column,
                                            std::int64_t columns) {
  load_floats<4>(z + column, value);  // rows of scratch are padded
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const bool there = column + i < columns;
    if (there && bias) value[i] += bias[column + i];
    if (!there) value[i] = -INFINITY;
  }
}

/// A block per row: the maximum, then the sum of exponentials below it.
__global__ void __launch_bounds__(kRowThreads)
    losses_kernel(View<float, 1> losses, View<float, 1> lse, View<const float, 2> z, View<const float, 1> bias,
                  View<const std::int32_t, 1> targets, DeviceStatus* status) {
  auto& scratch = block_shared<BlockScratch<float>>();
  const std::int64_t row = blockIdx.x, columns = z.cols();
  const float* logits = z.row(row);
  float top = -INFINITY;
  for (std::int64_t c = 4 * thread_id(); c < columns; c += 4 * kRowThreads) {
    float value[4];
    load_logits(value, logits, bias, c, columns);
#pragma unroll
    for (int i = 0; i < 4; ++i) top = fmaxf(top, value[i]);
  }
  top = block_max(top, scratch);
  float sum = 0.0f;
  for (std::int64_t c = 4 * thread_id(); c < columns; c += 4 * kRowThreads) {
    float value[4];
    load_logits(value, logits, bias, c, columns);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += expf(value[i] - top);
  }
  sum = block_sum(sum, scratch);
  if (thread_id() != 0) return;
  const float total = top + logf(sum);
  lse[row] = total;
  const std::int32_t target = targets[row];
  if (target < 0 || target >= columns) {
    report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kCrossEntropy, target, columns);
    losses[row] = NAN;
    return;
  }
  losses[row] = total - (logits[target] + (bias ? bias[target] : 0.0f));
}

template <int kWidth, class T>
struct Gradient {
  View<T, 2> g;
  View<const float, 2> z;
  View<const float, 1> bias, lse, dloss;
  View<const std::int32_t, 1> targets;
  float rows;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const float factor = dloss[0] / rows, shift = lse[row];
    const std::int64_t target = targets[row];
    float value[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      float part[4];
      load_floats<4>(z.row(row) + column + i, part);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const std::int64_t c = column + i + e;
        if (bias && c < z.cols()) part[e] += bias[c];
        const float p = c < z.cols() ? expf(part[e] - shift) : 0.0f;
        value[i + e] = factor * (p - (c == target ? 1.0f : 0.0f));
      }
    }
    store_floats<kWidth>(g.row(row) + column, value);
  }
};

__global__ void __launch_bounds__(kMeanThreads) mean_kernel(float* mean, View<const float, 1> values) {
  auto& scratch = block_shared<BlockScratch<double>>();
  double sum = 0;
  for (std::int64_t i = thread_id(); i < values.extent(0); i += kMeanThreads) sum += static_cast<double>(values[i]);
  sum = block_sum(sum, scratch);
  if (thread_id() == 0) *mean = static_cast<float>(sum / static_cast<double>(values.extent(0)));
}

}  // namespace

void losses_of_logits(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, View<const float, 2> z, View<const float, 1> bias,
                      View<const std::int32_t, 1> targets) {
  launch(losses_kernel, z.rows(), dim3(kRowThreads), sizeof(BlockScratch<float>), ctx.stream(), losses, lse, z, bias, targets, ctx.status());
}

template <class T>
void gradients_of_logits(CudaContext& ctx, View<T, 2> g, View<const float, 2> z, View<const float, 1> bias,
                         View<const std::int32_t, 1> targets, View<const float, 1> lse, View<const float, 1> dloss, std::int64_t rows) {
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  const std::int64_t padded = (z.cols() + kWidth - 1) / kWidth * kWidth;  // the padding of g becomes 0
  for_pieces<kWidth>(ctx, z.rows(), padded, Gradient<kWidth, T>{g, z, bias, lse, dloss, targets, static_cast<float>(rows)});
}
template void gradients_of_logits<float>(CudaContext&, View<float, 2>, View<const float, 2>, View<const float, 1>,
                                         View<const std::int32_t, 1>, View<const float, 1>, View<const float, 1>, std::int64_t);
template void gradients_of_logits<bfloat16>(CudaContext&, View<bfloat16, 2>, View<const float, 2>, View<const float, 1>,
                                            View<const std::int32_t, 1>, View<const float, 1>, View<const float, 1>, std::int64_t);

void mean_of_losses(CudaContext& ctx, View<float, 1> loss, View<const float, 1> losses) {
  launch(mean_kernel, 1, dim3(kMeanThreads), sizeof(BlockScratch<double>), ctx.stream(), loss.data, losses);
}

}  // namespace galrec::cross_entropy_cuda
