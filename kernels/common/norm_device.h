#pragma once
// Forward of the normalisations on CUDA: a warp holds a row of up to kNormHeldCols columns in registers, so that everything is read
// once and written once; longer or unaligned rows are walked again. RMSNorm is LayerNorm without the mean and the bias.

#include <algorithm>

#include "kernels/common/dropout_device.h"
#include "kernels/common/rows_device.h"

namespace galrec {

enum class NormKind { kRms, kLayer };

inline constexpr int kNormWidth = 4;                      // columns at a time: 16 bytes of the fp32 stream, 8 of bf16
inline constexpr int kNormStep = kNormWidth * kWarpSize;  // columns that a warp holds per vector
inline constexpr std::int64_t kNormHeldCols = 8 * kNormStep;

/// What the forward kernels are passed. sum = residual + dropout(x); either of residual and x may be missing.
template <class T>
struct NormForwardArguments {
  View<T, 2> y;
  View<float, 2> sum;  // empty: not written
  float* mean;         // kLayer only
  float* rstd;
  View<const T, 2> x;
  View<const float, 2> residual;
  const float* weight;
  const float* bias;  // kLayer only
  float eps;
  float share;  // 1 / C
  DropoutMask mask;
  std::uint64_t mask_stride;

  __device__ __forceinline__ bool both() const { return x.data != nullptr && residual.data != nullptr; }

  /// s = base + dropout(s), Width columns.
  template <int Width>
  __device__ __forceinline__ void add_branch(std::int64_t row, std::int64_t column, float (&s)[Width],
                                             const float (&base)[Width]) const {
    if (mask.active()) {
      float m[Width];
      dropout_multipliers<Width>(mask, static_cast<std::uint64_t>(row) * mask_stride + static_cast<std::uint64_t>(column), m);
#pragma unroll
      for (int i = 0; i < Width; ++i) s[i] *= m[i];
    }
#pragma unroll
    for (int i = 0; i < Width; ++i) s[i] += base[i];
  }
  /// Width columns of x, or of the residual where there is no x.
  template <int Width>
  __device__ __forceinline__ void load_first(std::int64_t row, std::int64_t column, float (&s)[Width]) const {
    if (x.data != nullptr) {
      load_floats<Width>(x.row(row) + column, s);
    } else {
      load_floats<Width>(residual.row(row) + column, s);
    }
  }
};

template <int Width>
__device__ __forceinline__ float vector_sum(const float (&v)[Width]) {
  float total = v[0];
#pragma unroll
  for (int i = 1; i < Width; ++i) total += v[i];
  return total;
}

/// Each warp takes `rows_per_warp` consecutive rows of up to Vectors * kNormStep columns and keeps the weights.
template <NormKind Kind, int Vectors, class T>
__global__ void __launch_bounds__(128, Vectors <= 4 ? 4 : 2)
    norm_forward_held_kernel(NormForwardArguments<T> a, int rows_per_warp) {
  constexpr int kWidth = kNormWidth;
  const std::int64_t rows = a.y.rows();
  const int cols = static_cast<int>(a.y.cols());
  const int first_column = lane_id() * kWidth;
  float w[Vectors][kWidth] = {}, b[Vectors][kWidth] = {};
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int c = v * kNormStep + first_column;
    if (c >= cols) continue;
    load_floats<kWidth>(a.weight + c, w[v]);
    if constexpr (Kind == NormKind::kLayer) load_floats<kWidth>(a.bias + c, b[v]);
  }
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * (block_threads() / kWarpSize) + warp_id();
  const std::int64_t end = min(rows, (warp + 1) * rows_per_warp);
  for (std::int64_t row = warp * rows_per_warp; row < end; ++row) {
    // All loads first: they wait together.
    float s[Vectors][kWidth] = {};
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      if (v * kNormStep + first_column < cols) a.template load_first<kWidth>(row, v * kNormStep + first_column, s[v]);
    }
    if (a.both()) {
      float base[Vectors][kWidth] = {};
#pragma unroll
      for (int v = 0; v < Vectors; ++v) {
        const int c = v * kNormStep + first_column;
        if (c < cols) load_floats<kWidth>(a.residual.row(row) + c, base[v]);
      }
#pragma unroll
      for (int v = 0; v < Vectors; ++v) a.template add_branch<kWidth>(row, v * kNormStep + first_column, s[v], base[v]);
    }
    float mean = 0.0f;
    if constexpr (Kind == NormKind::kLayer) {
#pragma unroll
      for (int v = 0; v < Vectors; ++v) mean += vector_sum(s[v]);
      mean = warp_sum(mean) * a.share;
    }
    float square = 0.0f;
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      if (v * kNormStep + first_column >= cols) continue;  // a missing column is not at distance `mean`
#pragma unroll
      for (int i = 0; i < kWidth; ++i) square += (s[v][i] - mean) * (s[v][i] - mean);
    }
    const float r = rsqrtf(warp_sum(square) * a.share + a.eps);
    if (lane_id() == 0) {
      a.rstd[row] = r;
      if constexpr (Kind == NormKind::kLayer) a.mean[row] = mean;
    }
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int c = v * kNormStep + first_column;
      if (c >= cols) continue;
      if (a.sum.data != nullptr) store_floats<kWidth>(a.sum.row(row) + c, s[v]);
      float y[kWidth];
#pragma unroll
      for (int i = 0; i < kWidth; ++i) y[i] = (s[v][i] - mean) * r * w[v][i] + b[v][i];
      store_floats<kWidth>(a.y.row(row) + c, y);
    }
  }
}

/// A warp per row of any length, read once per pass.
template <NormKind Kind, int Width, class T>
__global__ void __launch_bounds__(128, 8) norm_forward_walked_kernel(NormForwardArguments<T> a) {
  const std::int64_t rows = a.y.rows(), cols = a.y.cols();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (block_threads() / kWarpSize) + warp_id();
  if (row >= rows) return;
  constexpr int kStep = Width * kWarpSize;
  const std::int64_t first = lane_id() * Width;
  // From the second pass on. Of x and residual together there is always a sum; every lane reads what it wrote itself.
  const auto again = [&](std::int64_t c, float(&s)[Width]) {
    if (a.sum.data != nullptr) {
      load_floats<Width>(a.sum.row(row) + c, s);
    } else {
      a.template load_first<Width>(row, c, s);
    }
  };
  float total = 0.0f;
  for (std::int64_t c = first; c < cols; c += kStep) {
    float s[Width];
    a.template load_first<Width>(row, c, s);
    if (a.both()) {
      float base[Width];
      load_floats<Width>(a.residual.row(row) + c, base);
      a.template add_branch<Width>(row, c, s, base);
    }
    if (a.sum.data != nullptr) store_floats<Width>(a.sum.row(row) + c, s);
#pragma unroll
    for (int i = 0; i < Width; ++i) total += Kind == NormKind::kLayer ? s[i] : s[i] * s[i];
  }
  total = warp_sum(total) * a.share;
  float mean = 0.0f;
  if constexpr (Kind == NormKind::kLayer) {
    mean = total;
    total = 0.0f;
    for (std::int64_t c = first; c < cols; c += kStep) {
      float s[Width];
      again(c, s);
#pragma unroll
      for (int i = 0; i < Width; ++i) total += (s[i] - mean) * (s[i] - mean);
    }
    total = warp_sum(total) * a.share;
  }
  const float r = rsqrtf(total + a.eps);
  if (lane_id() == 0) {
    a.rstd[row] = r;
    if constexpr (Kind == NormKind::kLayer) a.mean[row] = mean;
  }
  for (std::int64_t c = first; c < cols; c += kStep) {
    float s[Width], w[Width], b[Width] = {};
    again(c, s);
    load_floats<Width>(a.weight + c, w);
    if constexpr (Kind == NormKind::kLayer) load_floats<Width>(a.bias + c, b);
#pragma unroll
    for (int i = 0; i < Width; ++i) s[i] = (s[i] - mean) * r * w[i] + b[i];
    store_floats<Width>(a.y.row(row) + c, s);
  }
}

/// Whether the operands fit one of the forms of the contract: x on a residual, x alone, the residual alone.
template <class T>
void check_norm_forward(View<T, 2> y, View<float, 2> sum, ConstView<T, 2> x, ConstView<float, 2> residual, const Dropout& dropout) {
  const auto fits = [&](const auto& v) { return v.shape == y.shape; };
  GALREC_CHECK(x || residual || y.size() == 0, "neither x nor residual");
  GALREC_CHECK(!x || fits(x), "y ({}, {}), x ({}, {})", y.rows(), y.cols(), x.rows(), x.cols());
  GALREC_CHECK(!residual || fits(residual), "residual ({}, {}), y ({}, {})", residual.rows(), residual.cols(), y.rows(), y.cols());
  if (x && residual) {
    GALREC_CHECK(fits(sum), "sum ({}, {}), y ({}, {})", sum.rows(), sum.cols(), y.rows(), y.cols());
  } else {
    GALREC_CHECK(!dropout.active(), "dropout needs a residual");
    // A bf16 x cannot be what the backward reads as `sum`.
    GALREC_CHECK(!sum || (!residual && std::is_same_v<T, bfloat16> && fits(sum)), "sum needs x and a residual");
  }
}

/// Calls f with the number of vectors per lane that `cols` <= kNormHeldCols columns need, as an integral constant.
template <class F>
void with_norm_vectors(std::int64_t cols, F&& f) {
  const std::int64_t vectors = (cols + kNormStep - 1) / kNormStep;
  if (vectors <= 1) return f(std::integral_constant<int, 1>{});
  if (vectors <= 2) return f(std::integral_constant<int, 2>{});
  if (vectors <= 4) return f(std::integral_constant<int, 4>{});
  if (vectors <= 6) return f(std::integral_constant<int, 6>{});
  f(std::integral_constant<int, 8>{});
}

template <NormKind Kind, class T>
void norm_forward(CudaContext& ctx, const NormForwardArguments<T>& a) {
  const std::int64_t rows = a.y.rows(), cols = a.y.cols();
  if (rows == 0 || cols == 0) return;
  constexpr std::int64_t kWarps = 4;
  const auto blocks = [](std::int64_t warps) { return (warps + kWarps - 1) / kWarps; };
  const View<const float, 1> weight(a.weight, {cols}), bias(a.bias, {cols});
  const bool vectors = all_in_vectors(kNormWidth, a.y, a.sum, a.x, a.residual, weight, bias);
  if (vectors && cols <= kNormHeldCols) {
    // More rows a warp read the weights less often, fewer leave work for every multiprocessor. Bits do not depend on it.
    const int per_warp = static_cast<int>(std::clamp<std::int64_t>(rows / 512, 1, 8));
    with_norm_vectors(cols, [&](auto count) {
      launch(norm_forward_held_kernel<Kind, count(), T>, blocks((rows + per_warp - 1) / per_warp), dim3(kWarps * kWarpSize), 0,
             ctx.stream(), a, per_warp);
    });
  } else if (vectors) {
    launch(norm_forward_walked_kernel<Kind, kNormWidth, T>, blocks(rows), dim3(kWarps * kWarpSize), 0, ctx.stream(), a);
  } else {
    launch(norm_forward_walked_kernel<Kind, 1, T>, blocks(rows), dim3(kWarps * kWarpSize), 0, ctx.stream(), a);
  }
}

}  // namespace galrec
