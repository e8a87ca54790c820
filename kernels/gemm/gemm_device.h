#pragma once
// What the GEMM kernels share: a product as a kernel sees it, the order of output tiles, and how results are written.

#include <cstdint>

#include "kernels/common/rows_device.h"
#include "kernels/gemm/gemm.h"

namespace galrec::gemm_cuda {

/// How rows in memory may be read or written: 16 bytes at a time, or element by element.
enum class Access { kVector, kScalar };

/// What is contiguous in an operand's rows: the depth K (a as it is, b transposed), or the edge M or N.
enum class Major { kDepth, kEdge };

template <class T>
struct Operand {
  const T* data;
  std::int64_t stride;
  Major major;
  Access access;
};

template <class In>
struct Product {
  std::int64_t m, n, k;
  Operand<In> a, b;
};

/// c = alpha product (+ c). Slice z of the depth goes to data + z * slice_stride.
template <class Out>
struct Output {
  Out* data;
  std::int64_t stride;
  std::int64_t slice_stride;
  float alpha;
  Accumulate accumulate;
  Access access;
};

template <class T>
Access access_of(const T* data, std::int64_t stride) {
  const bool vectors = reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride % (16 / static_cast<std::int64_t>(sizeof(T))) == 0;
  return vectors ? Access::kVector : Access::kScalar;
}

inline std::int64_t pieces(std::int64_t extent, std::int64_t size) { return (extent + size - 1) / size; }

template <class T>
Operand<T> operand_of(const View<const T, 2>& x, Major major) {
  // A single row has no stride worth looking at.
  const std::int64_t stride = x.rows() <= 1 ? pieces(std::max<std::int64_t>(x.cols(), 1), 16) * 16 : x.stride[0];
  return {x.data, stride, major, access_of(x.data, stride)};
}

/// Slices of the depth, each `depth` long but the last.
struct Slices {
  std::int64_t count, depth;
};

/// Enough blocks for a large GPU where there is depth to share. A function of the shape only: the bits are the same on
/// every device.
inline Slices choose_slices(std::int64_t tiles, std::int64_t k) {
  constexpr std::int64_t kEnough = 192, kLeastDepth = 512, kUnit = 64, kMost = 64;
  if (tiles * 2 > kEnough || k < 2 * kLeastDepth) return {1, k};
  const std::int64_t wanted = std::min({kEnough / tiles, k / kLeastDepth, kMost});
  const std::int64_t depth = pieces(pieces(k, wanted), kUnit) * kUnit;
  return {pieces(k, depth), depth};
}

/// First row and column of an output tile, and the slice of the depth.
struct Tile {
  std::int64_t m, n, k0, k1, slice;
};

/// Blocks that run together cover a square of tiles rather than a row, and share more of what they read through the L2
/// cache: groups of kGroup tile rows, column after column.
template <int kRows, int kCols>
__device__ __forceinline__ Tile tile_of_block(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t slice_depth) {
  constexpr int kGroup = 8;
  const std::int64_t tiles_m = (m + kRows - 1) / kRows, tiles_n = (n + kCols - 1) / kCols;
  const std::int64_t group = blockIdx.x / (kGroup * tiles_n), first = group * kGroup;
  const std::int64_t high = min(static_cast<std::int64_t>(kGroup), tiles_m - first);
  const std::int64_t at = blockIdx.x - group * kGroup * tiles_n;
  const std::int64_t k0 = blockIdx.y * slice_depth;
  return {(first + at % high) * kRows, at / high * kCols, k0, min(k0 + slice_depth, k), static_cast<std::int64_t>(blockIdx.y)};
}

/// Writes kWidth neighbours of row i from column j on, as far as they lie in the matrix.
template <int kWidth, class Out>
__device__ __forceinline__ void write_output(const Output<Out>& c, std::int64_t slice, std::int64_t i, std::int64_t j, std::int64_t m,
                                             std::int64_t n, float (&value)[kWidth]) {
  if (i >= m) return;
  Out* p = c.data + slice * c.slice_stride + i * c.stride + j;
#pragma unroll
  for (int e = 0; e < kWidth; ++e) value[e] *= c.alpha;
  if (c.access == Access::kVector && j + kWidth <= n) {
    update_floats<kWidth>(p, value, c.accumulate);
  } else {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      float one[1] = {value[e]};
      if (j + e < n) update_floats<1>(p + e, one, c.accumulate);
    }
  }
}

/// c = alpha times the sum of the slices in order (+ c), one thread a piece.
template <int kWidth, class Out>
struct SumSlices {
  View<Out, 2> c;
  const float* partial;
  std::int64_t partial_stride, slice_stride, count;
  float alpha;
  Accumulate accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const float* p = partial + row * partial_stride + column;
    float sum[kWidth];
    load_floats<kWidth>(p, sum);
    for (std::int64_t s = 1; s < count; ++s) {
      float more[kWidth];
      load_floats<kWidth>(p + s * slice_stride, more);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[e] += more[e];
    }
#pragma unroll
    for (int e = 0; e < kWidth; ++e) sum[e] *= alpha;
    update_floats<kWidth>(c.row(row) + column, sum, accumulate);
  }
};

/// Runs multiply(output, slices): at once into c, or into partial sums in scratch that are added afterwards.
template <class Out, class Multiply>
void multiply_in_slices(CudaContext& ctx, View<Out, 2> c, const GemmOptions& options, Slices slices, const Multiply& multiply) {
  const auto alpha = static_cast<float>(options.alpha);
  if (slices.count == 1) {
    multiply(Output<Out>{c.data, c.stride[0], 0, alpha, options.accumulate, access_of(c.data, c.stride[0])}, slices);
    return;
  }
  constexpr int kWidth = kRowWidth<float, Out>;
  ScratchScope scratch(ctx.scratch());
  const std::int64_t stride = pieces(c.cols(), 8) * 8, slice_stride = c.rows() * stride;
  auto* partial = scratch->template alloc<float>(slices.count * slice_stride);
  multiply(Output<float>{partial, stride, slice_stride, 1.0f, Accumulate::kOverwrite, Access::kVector}, slices);
  if (in_vectors(c, kWidth)) {
    for_pieces<kWidth>(ctx, c.rows(), c.cols(),
                       SumSlices<kWidth, Out>{c, partial, stride, slice_stride, slices.count, alpha, options.accumulate});
  } else {
    for_pieces<1>(ctx, c.rows(), c.cols(),
                  SumSlices<1, Out>{c, partial, stride, slice_stride, slices.count, alpha, options.accumulate});
  }
}

/// c = alpha a b (+ c) by cuBLASLt in full precision; false, and nothing done, where there is no such library (the executor) or it
/// does not take the layout.
template <class In, class Out>
bool multiply_cublaslt(CudaContext& ctx, View<Out, 2> c, const Product<In>& product, const GemmOptions& options);
/// c = alpha a b (+ c) on the ordinary fp32 units (gemm_ffma.cu).
template <class In, class Out>
void multiply_ffma(CudaContext& ctx, View<Out, 2> c, const Product<In>& product, const GemmOptions& options);
/// The same on the tensor cores: bf16 operands (gemm_mma.cu), fp32 operands rounded to TF32 (gemm_tf32.cu) or bf16
/// (gemm_mma_rounded.cu).
template <class In, class Out>
void multiply_mma(CudaContext& ctx, View<Out, 2> c, const Product<In>& product, const GemmOptions& options);
void multiply_tf32(CudaContext& ctx, View<float, 2> c, const Product<float>& product, const GemmOptions& options);
void multiply_mma_rounded(CudaContext& ctx, View<float, 2> c, const Product<float>& product, const GemmOptions& options);

}  // namespace galrec::gemm_cuda
