#pragma once
// Backward of the normalisations on CUDA. A block takes a slab of kNormSlabRows rows: each warp keeps one row at a time and the
// sums of its rows' weight gradients in registers; the warps' sums are added in order, then the slabs'.

#include "kernels/common/norm_device.h"
#include "kernels/common/norm_slabs.h"
#include "kernels/common/slabs_device.h"

namespace galrec {

inline constexpr int kNormBackwardWarps = 8;

/// What the backward kernels are passed. With h = (sum - mean) r and g = dy w: n = r (g - [mean_c g] - h mean_c(h g)) + dsum, the
/// bracket for kLayer; dresidual gets n, dx gets dropout'(n).
template <class T>
struct NormBackwardArguments {
  View<T, 2> dx;                  // may be empty
  View<float, 2> dresidual;       // may be empty
  View<float, 2> dweight, dbias;  // partial sums, a row per slab; empty: not wanted
  View<const T, 2> dy;
  View<const float, 2> dsum;  // may be empty
  View<const float, 2> sum;
  const float* weight;
  const float* mean;  // kLayer only
  const float* rstd;
  float share;  // 1 / C
  DropoutMask mask;
  std::uint64_t mask_stride;
  Accumulate dx_accumulate, dresidual_accumulate;

  __device__ __forceinline__ bool input_wanted() const { return dx.data != nullptr || dresidual.data != nullptr; }

  /// Sends the gradient n of Width columns of the norm's input on its two ways.
  template <int Width>
  __device__ __forceinline__ void send(std::int64_t row, std::int64_t column, const float (&n)[Width]) const {
    if (dresidual.data != nullptr) {
      float out[Width];
#pragma unroll
      for (int i = 0; i < Width; ++i) out[i] = n[i];
      update_floats<Width>(dresidual.row(row) + column, out, dresidual_accumulate);
    }
    if (dx.data == nullptr) return;
    float out[Width];
#pragma unroll
    for (int i = 0; i < Width; ++i) out[i] = n[i];
    if (mask.active()) {
      float m[Width];
      dropout_multipliers<Width>(mask, static_cast<std::uint64_t>(row) * mask_stride + static_cast<std::uint64_t>(column), m);
#pragma unroll
      for (int i = 0; i < Width; ++i) out[i] *= m[i];
    }
    update_floats<Width>(dx.row(row) + column, out, dx_accumulate);
  }
};

template <int Vectors>
struct NormBackwardShared {
  float of_warp[kNormBackwardWarps][Vectors * kNormStep];
};

/// slab[c] = the warps' sums of column c, added in order.
template <int Vectors>
__device__ __forceinline__ void write_slab(NormBackwardShared<Vectors>& shared, const float (&sums)[Vectors][kNormWidth],
                                           float* slab, int cols) {
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    store_floats<kNormWidth>(&shared.of_warp[warp_id()][v * kNormStep + lane_id() * kNormWidth], sums[v]);
  }
  __syncthreads();
  for (int c = thread_id(); c < cols; c += block_threads()) {
    float total = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kNormBackwardWarps; ++warp) total += shared.of_warp[warp][c];
    put_partial(slab + c, total);
  }
  __syncthreads();
}

template <NormKind Kind, int Vectors, class T>
__global__ void __launch_bounds__(kNormBackwardWarps* kWarpSize, Vectors <= 4 ? 2 : 1)
    norm_backward_held_kernel(NormBackwardArguments<T> a) {
  constexpr int kWidth = kNormWidth;
  const std::int64_t rows = a.sum.rows();
  const int cols = static_cast<int>(a.sum.cols());
  const int first_column = lane_id() * kWidth;
  float w[Vectors][kWidth] = {}, dw[Vectors][kWidth] = {}, db[Vectors][kWidth] = {};
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    if (v * kNormStep + first_column < cols) load_floats<kWidth>(a.weight + v * kNormStep + first_column, w[v]);
  }
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) * kNormSlabRows;
  const std::int64_t end = min(rows, first_row + kNormSlabRows);
  for (std::int64_t row = first_row + warp_id(); row < end; row += kNormBackwardWarps) {
    const float r = a.rstd[row];
    float mean = 0.0f;
    if constexpr (Kind == NormKind::kLayer) mean = a.mean[row];
    // All loads first: they wait together, and dsum is read before an output that may be dsum itself is written.
    float h[Vectors][kWidth], g[Vectors][kWidth] = {}, n[Vectors][kWidth] = {};
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int c = v * kNormStep + first_column;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) h[v][i] = mean;
      if (c >= cols) continue;
      load_floats<kWidth>(a.sum.row(row) + c, h[v]);
      load_floats<kWidth>(a.dy.row(row) + c, g[v]);
    }
    if (a.dsum.data != nullptr) {
#pragma unroll
      for (int v = 0; v < Vectors; ++v) {
        const int c = v * kNormStep + first_column;
        if (c < cols) load_floats<kWidth>(a.dsum.row(row) + c, n[v]);
      }
    }
    float mean_g = 0.0f, mean_hg = 0.0f;
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        h[v][i] = (h[v][i] - mean) * r;
        dw[v][i] += g[v][i] * h[v][i];
        if constexpr (Kind == NormKind::kLayer) db[v][i] += g[v][i];
        g[v][i] *= w[v][i];
        mean_hg += h[v][i] * g[v][i];
        if constexpr (Kind == NormKind::kLayer) mean_g += g[v][i];
      }
    }
    if (!a.input_wanted()) continue;
    mean_hg = warp_sum(mean_hg) * a.share;
    if constexpr (Kind == NormKind::kLayer) mean_g = warp_sum(mean_g) * a.share;
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int c = v * kNormStep + first_column;
      if (c >= cols) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) n[v][i] += r * (g[v][i] - mean_g - h[v][i] * mean_hg);
      a.template send<kWidth>(row, c, n[v]);
    }
  }
  auto& shared = block_shared<NormBackwardShared<Vectors>>();
  if (a.dweight.data != nullptr) write_slab<Vectors>(shared, dw, a.dweight.row(blockIdx.x), cols);
  if constexpr (Kind == NormKind::kLayer) {
    if (a.dbias.data != nullptr) write_slab<Vectors>(shared, db, a.dbias.row(blockIdx.x), cols);
  }
}

/// A warp per row of any length, walked twice. Weight gradients come from norm_backward_columns_kernel.
template <NormKind Kind, int Width, class T>
__global__ void __launch_bounds__(128) norm_backward_walked_kernel(NormBackwardArguments<T> a) {
  const std::int64_t rows = a.sum.rows(), cols = a.sum.cols();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (block_threads() / kWarpSize) + warp_id();
  if (row >= rows) return;
  const float r = a.rstd[row];
  float mean = 0.0f, mean_g = 0.0f, mean_hg = 0.0f;
  if constexpr (Kind == NormKind::kLayer) mean = a.mean[row];
  const auto load = [&](std::int64_t c, float(&h)[Width], float(&g)[Width]) {
    float w[Width];
    load_floats<Width>(a.sum.row(row) + c, h);
    load_floats<Width>(a.dy.row(row) + c, g);
    load_floats<Width>(a.weight + c, w);
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      h[i] = (h[i] - mean) * r;
      g[i] *= w[i];
    }
  };
  constexpr int kStep = Width * kWarpSize;
  for (std::int64_t c = lane_id() * Width; c < cols; c += kStep) {
    float h[Width], g[Width];
    load(c, h, g);
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      mean_hg += h[i] * g[i];
      if constexpr (Kind == NormKind::kLayer) mean_g += g[i];
    }
  }
  mean_hg = warp_sum(mean_hg) * a.share;
  if constexpr (Kind == NormKind::kLayer) mean_g = warp_sum(mean_g) * a.share;
  for (std::int64_t c = lane_id() * Width; c < cols; c += kStep) {
    float h[Width], g[Width], n[Width] = {};
    load(c, h, g);
    if (a.dsum.data != nullptr) load_floats<Width>(a.dsum.row(row) + c, n);
#pragma unroll
    for (int i = 0; i < Width; ++i) n[i] += r * (g[i] - mean_g - h[i] * mean_hg);
    a.template send<Width>(row, c, n);
  }
}

/// A thread per column walks the rows of a slab in order.
template <NormKind Kind, class T>
__global__ void __launch_bounds__(128) norm_backward_columns_kernel(NormBackwardArguments<T> a) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (c >= a.sum.cols()) return;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) * kNormSlabRows;
  const std::int64_t end = min(a.sum.rows(), first_row + kNormSlabRows);
  float dw = 0.0f, db = 0.0f;
#pragma unroll 4
  for (std::int64_t row = first_row; row < end; ++row) {
    const float mean = Kind == NormKind::kLayer ? a.mean[row] : 0.0f;
    const float dy = to_float(a.dy(row, c));
    dw += dy * ((a.sum(row, c) - mean) * a.rstd[row]);
    db += dy;
  }
  if (a.dweight.data != nullptr) put_partial(&a.dweight(blockIdx.x, c), dw);
  if (a.dbias.data != nullptr) put_partial(&a.dbias(blockIdx.x, c), db);
}

template <class T>
void check_norm_backward(const NormBackwardArguments<T>& a) {
  const std::int64_t rows = a.sum.rows(), cols = a.sum.cols();
  const auto fits = [&](const auto& v) { return !v || (v.rows() == rows && v.cols() == cols); };
  GALREC_CHECK(a.dy.rows() == rows && a.dy.cols() == cols, "dy ({}, {}), sum ({}, {})", a.dy.rows(), a.dy.cols(), rows, cols);
  GALREC_CHECK(fits(a.dx), "dx ({}, {}), sum ({}, {})", a.dx.rows(), a.dx.cols(), rows, cols);
  GALREC_CHECK(fits(a.dresidual), "dresidual ({}, {}), sum ({}, {})", a.dresidual.rows(), a.dresidual.cols(), rows, cols);
  GALREC_CHECK(fits(a.dsum), "dsum ({}, {}), sum ({}, {})", a.dsum.rows(), a.dsum.cols(), rows, cols);
  GALREC_CHECK(!a.dsum || a.dsum.data != a.dresidual.data || a.dresidual_accumulate == Accumulate::kOverwrite,
               "dresidual is dsum: it cannot be added to");
  GALREC_CHECK(!a.dsum || static_cast<const void*>(a.dsum.data) != static_cast<const void*>(a.dx.data) ||
                   a.dx_accumulate == Accumulate::kOverwrite,
               "dx is dsum: it cannot be added to");
}

/// Where the slabs' parts of a weight gradient go.
inline View<float, 2> norm_slabs(CudaContext& ctx, Arena& arena, View<float, 1> gradient, std::int64_t rows, Accumulate accumulate) {
  return partial_rows(ctx, arena, gradient, (rows + kNormSlabRows - 1) / kNormSlabRows, accumulate);
}

/// Fills everything but the final weight gradients: sum_slabs() adds the rows of a.dweight and a.dbias.
template <NormKind Kind, class T>
void norm_backward(CudaContext& ctx, const NormBackwardArguments<T>& a) {
  const std::int64_t rows = a.sum.rows(), cols = a.sum.cols();
  if (rows == 0 || cols == 0) return;
  const std::int64_t slabs = (rows + kNormSlabRows - 1) / kNormSlabRows;
  const View<const float, 1> weight(a.weight, {cols});
  const bool vectors = all_in_vectors(kNormWidth, a.dx, a.dresidual, a.dy, a.dsum, a.sum, weight);
  if (vectors && cols <= kNormHeldCols) {
    with_norm_vectors(cols, [&](auto count) {
      launch(norm_backward_held_kernel<Kind, count(), T>, slabs, dim3(kNormBackwardWarps * kWarpSize),
             sizeof(NormBackwardShared<count()>), ctx.stream(), a);
    });
    return;
  }
  constexpr std::int64_t kWarps = 4;
  const dim3 block(kWarps * kWarpSize);
  if (a.dweight || a.dbias) {
    const std::int64_t tiles = (cols + block.x - 1) / block.x;
    GALREC_CHECK(tiles <= 65535, "{} columns", cols);
    launch(norm_backward_columns_kernel<Kind, T>, dim3(static_cast<unsigned>(slabs), static_cast<unsigned>(tiles)), block, 0,
           ctx.stream(), a);
  }
  if (a.dx || a.dresidual) {
    const std::int64_t blocks = (rows + kWarps - 1) / kWarps;
    if (vectors) {
      launch(norm_backward_walked_kernel<Kind, kNormWidth, T>, blocks, block, 0, ctx.stream(), a);
    } else {
      launch(norm_backward_walked_kernel<Kind, 1, T>, blocks, block, 0, ctx.stream(), a);
    }
  }
}

}  // namespace galrec
