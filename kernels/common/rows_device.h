#pragma once
// What row-wise CUDA kernels share: vectors of a row as fp32 registers, the test whether rows can be read in vectors, and the
// grid of pointwise kernels.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/common/context.h"
#include "kernels/common/device.h"
#include "kernels/common/launch.h"
#include "kernels/common/view.h"
#include "kernels/common/warp.h"

namespace galrec {

/// Elements that a thread handles at a time when all of `Types` move in one instruction, the largest type in 16 bytes: a warp then
/// touches consecutive bytes of every operand and uses whole sectors of each.
template <class... Types>
inline constexpr int kRowWidth = 16 / static_cast<int>(std::max({sizeof(Types)...}));

/// 8 bytes moved by one instruction.
using Words8 [[gnu::may_alias]] = std::uint64_t;

/// Reads Width elements at `p` as fp32; `p` is aligned to their size (at most 16 bytes).
template <int Width, class T>
__device__ __forceinline__ void load_floats(const T* p, float (&out)[Width]) {
  constexpr int kBytes = Width * static_cast<int>(sizeof(T));
  if constexpr (Width == 1) {
    out[0] = to_float(*p);
  } else if constexpr (std::is_same_v<T, bfloat16> && kBytes == 8) {
    const std::uint64_t words = *reinterpret_cast<const Words8*>(p);
    const FloatPair a = unpack_bf16x2(static_cast<std::uint32_t>(words)),
                    b = unpack_bf16x2(static_cast<std::uint32_t>(words >> 32));
    out[0] = a.lo;
    out[1] = a.hi;
    out[2] = b.lo;
    out[3] = b.hi;
  } else {
    static_assert(kBytes == 16);
    const Pack<T> pack = load16(p);
#pragma unroll
    for (int i = 0; i < Width; ++i) out[i] = to_float(pack[i]);
  }
}

/// Writes Width fp32 values at `p` as T, rounded once.
template <int Width, class T>
__device__ __forceinline__ void store_floats(T* p, const float (&value)[Width]) {
  constexpr int kBytes = Width * static_cast<int>(sizeof(T));
  if constexpr (Width == 1) {
    *p = from_float<T>(value[0]);
  } else if constexpr (std::is_same_v<T, bfloat16> && kBytes == 8) {
    const std::uint64_t high = pack_bf16x2(value[2], value[3]);
    *reinterpret_cast<Words8*>(p) = high << 32 | pack_bf16x2(value[0], value[1]);
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    static_assert(kBytes == 16);
    store16(p, std::bit_cast<Pack<T>>(make_uint4(pack_bf16x2(value[0], value[1]), pack_bf16x2(value[2], value[3]),
                                                 pack_bf16x2(value[4], value[5]), pack_bf16x2(value[6], value[7]))));
  } else {
    static_assert(kBytes == 16);
    store16(p, std::bit_cast<Pack<T>>(make_float4(value[0], value[1], value[2], value[3])));
  }
}

/// p = value, or p += value.
template <int Width, class T>
__device__ __forceinline__ void update_floats(T* p, float (&value)[Width], Accumulate accumulate) {
  if (accumulate == Accumulate::kAdd) {
    float before[Width];
    load_floats<Width>(p, before);
#pragma unroll
    for (int i = 0; i < Width; ++i) value[i] += before[i];
  }
  store_floats<Width>(p, value);
}

/// Whether every row of a matrix (or the one row of a vector) can be read in vectors of `width` elements; empty views can.
template <class T, int Rank>
bool in_vectors(const View<T, Rank>& v, int width) {
  if (v.data == nullptr) return true;
  const auto bytes = static_cast<std::uintptr_t>(width) * sizeof(T);
  bool fits = v.shape[Rank - 1] % width == 0 && reinterpret_cast<std::uintptr_t>(v.data) % bytes == 0;
  if constexpr (Rank == 2) fits = fits && (v.rows() <= 1 || v.stride[0] % width == 0);
  return fits;
}
template <class... Views>
bool all_in_vectors(int width, const Views&... views) {
  return (in_vectors(views, width) && ...);
}

/// Body(row, column) for the pieces of Width columns of a (rows, cols) matrix, one thread a piece. A block is a tile of whole warps
/// along the columns, several rows high where rows are short.
template <int Width, class Body>
__global__ void __launch_bounds__(256) pieces_kernel(std::int64_t rows, std::int64_t cols, Body body) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.y) * blockDim.x * Width;
  std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * Width;
  for (; column < cols; column += step) body(row, column);
}

/// Runs a trivially copyable Body over all pieces. `cols` is a multiple of Width.
template <int Width, class Body>
void for_pieces(CudaContext& ctx, std::int64_t rows, std::int64_t cols, const Body& body) {
  if (rows <= 0 || cols <= 0) return;
  constexpr std::int64_t kThreads = 256, kMaxGridY = 65535;
  const std::int64_t pieces = cols / Width;
  std::int64_t along = 1;  // threads along a row: a power of two below a warp, whole warps above
  if (pieces >= kThreads) {
    along = kThreads;
  } else if (pieces > kWarpSize) {
    along = (pieces + kWarpSize - 1) / kWarpSize * kWarpSize;
  } else {
    while (along < pieces) along *= 2;
  }
  const std::int64_t high = std::max<std::int64_t>(1, std::min(kThreads / along, rows));
  const std::int64_t tiles = std::min((pieces + along - 1) / along, kMaxGridY);
  launch(pieces_kernel<Width, Body>, dim3(static_cast<unsigned>((rows + high - 1) / high), static_cast<unsigned>(tiles)),
         dim3(static_cast<unsigned>(along), static_cast<unsigned>(high)), 0, ctx.stream(), rows, cols, body);
}

}  // namespace galrec
