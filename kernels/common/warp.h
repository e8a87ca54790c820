#pragma once
// The small things that every kernel needs: its shared memory, its place in the block, sums over a warp or a block in a fixed
// order, 16-byte accesses and bf16 conversions.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/common/device.h"

#if !defined(__CUDACC__)
#include "kernels/simt/warp_matrix.h"
#endif

namespace galrec {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullMask = 0xffffffffu;

/// The block's dynamic shared memory as one struct. The launch must give sizeof(Shared) bytes. Not initialised (poisoned with
/// 0xff on the executor), aligned to 1024. The same bytes at every call.
template <class Shared>
__device__ __forceinline__ Shared& block_shared([[maybe_unused]] DevicePlace where = DevicePlace::here()) {
  static_assert(alignof(Shared) <= 1024);
#if defined(__CUDACC__)
  extern __shared__ __align__(1024) unsigned char galrec_block_shared[];
  return *reinterpret_cast<Shared*>(galrec_block_shared);
#else
  return *static_cast<Shared*>(simt::block_shared_memory(sizeof(Shared), where));
#endif
}

/// The thread's index in its block, whatever the block's shape.
__device__ __forceinline__ int thread_id() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ __forceinline__ int block_threads() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }
__device__ __forceinline__ int lane_id() { return thread_id() % kWarpSize; }
__device__ __forceinline__ int warp_id() { return thread_id() / kWarpSize; }

/// The value of lane `lane ^ offset`. All 32 lanes take part.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int offset, [[maybe_unused]] DevicePlace where = DevicePlace::here()) {
#if defined(__CUDACC__)
  return __shfl_xor_sync(kFullMask, value, offset);
#else
  return __shfl_xor_sync(kFullMask, value, offset, kWarpSize, where);
#endif
}

/// Combines groups of `Width` consecutive lanes with a butterfly; every lane gets the same bits. All 32 lanes take part.
template <int Width = kWarpSize, class T, class F>
__device__ __forceinline__ T warp_reduce(T value, F combine, DevicePlace where = DevicePlace::here()) {
  static_assert(Width > 0 && Width <= kWarpSize && (Width & (Width - 1)) == 0);
#pragma unroll
  for (int offset = Width / 2; offset > 0; offset /= 2) value = combine(value, shuffle_xor(value, offset, where));
  return value;
}
template <int Width = kWarpSize, class T>
__device__ __forceinline__ T warp_sum(T value, DevicePlace where = DevicePlace::here()) {
  return warp_reduce<Width>(value, [](T a, T b) { return a + b; }, where);
}
/// NaN loses against a number (fmaxf).
template <int Width = kWarpSize, class T>
__device__ __forceinline__ T warp_max(T value, DevicePlace where = DevicePlace::here()) {
  return warp_reduce<Width>(value, [](T a, T b) { return max(a, b); }, where);
}

/// Scratch of block_reduce() for blocks of up to 1024 threads; a member of the kernel's shared struct.
template <class T>
struct BlockScratch {
  T warp[kWarpSize];
};

template <class T>
__device__ __forceinline__ void block_barrier([[maybe_unused]] T where) {
#if defined(__CUDACC__)
  __syncthreads();
#else
  __syncthreads(where);
#endif
}

/// Combines all threads of the block: butterflies within warps, then warps in ascending order. Every thread gets the same bits.
/// The block must be whole warps. Barriers before and after the use of `scratch`: it may be used again at once.
template <class T, class F>
__device__ __forceinline__ T block_reduce(T value, BlockScratch<T>& scratch, F combine, DevicePlace where = DevicePlace::here()) {
  value = warp_reduce(value, combine, where);
  const int warps = block_threads() / kWarpSize;
  if (lane_id() == 0) scratch.warp[warp_id()] = value;
  block_barrier(where);
  T total = scratch.warp[0];
  for (int w = 1; w < warps; ++w) total = combine(total, scratch.warp[w]);
  block_barrier(where);
  return total;
}
template <class T>
__device__ __forceinline__ T block_sum(T value, BlockScratch<T>& scratch, DevicePlace where = DevicePlace::here()) {
  return block_reduce(value, scratch, [](T a, T b) { return a + b; }, where);
}
template <class T>
__device__ __forceinline__ T block_max(T value, BlockScratch<T>& scratch, DevicePlace where = DevicePlace::here()) {
  return block_reduce(value, scratch, [](T a, T b) { return max(a, b); }, where);
}

/// 16 bytes of elements, moved by one instruction: float x 4, bfloat16 x 8.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T at[kSize];
  __device__ __forceinline__ T& operator[](int i) { return at[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return at[i]; }
};

/// Reads 16 bytes at `p`, which must be aligned to 16.
template <class T>
__device__ __forceinline__ Pack<std::remove_const_t<T>> load16(T* p, [[maybe_unused]] DevicePlace where = DevicePlace::here()) {
#if defined(__CUDACC__)
  return std::bit_cast<Pack<std::remove_const_t<T>>>(*reinterpret_cast<const uint4*>(p));
#else
  simt::check_aligned(p, 16, "load16", where);
  return std::bit_cast<Pack<std::remove_const_t<T>>>(*reinterpret_cast<const simt::Words16*>(p));
#endif
}
/// Writes 16 bytes at `p`, which must be aligned to 16.
template <class T>
__device__ __forceinline__ void store16(T* p, const Pack<T>& value, [[maybe_unused]] DevicePlace where = DevicePlace::here()) {
#if defined(__CUDACC__)
  *reinterpret_cast<uint4*>(p) = std::bit_cast<uint4>(value);
#else
  simt::check_aligned(p, 16, "store16", where);
  *reinterpret_cast<simt::Words16*>(p) = std::bit_cast<simt::Words16>(value);
#endif
}

/// A vector of 8 or 16 bytes (float2, uint4) moved by one instruction: nvcc does so by itself, the executor's compiler
/// copies members.
template <class V>
__device__ __forceinline__ V load_whole(const V* p) {
  static_assert((sizeof(V) == 8 || sizeof(V) == 16) && alignof(V) == sizeof(V));
#if defined(__CUDACC__)
  return *p;
#else
  if constexpr (sizeof(V) == 8) {
    return std::bit_cast<V>(*reinterpret_cast<const simt::Words8*>(p));
  } else {
    return std::bit_cast<V>(*reinterpret_cast<const simt::Words16*>(p));
  }
#endif
}
template <class V>
__device__ __forceinline__ void store_whole(V* p, const V& value) {
  static_assert((sizeof(V) == 8 || sizeof(V) == 16) && alignof(V) == sizeof(V));
#if defined(__CUDACC__)
  *p = value;
#else
  if constexpr (sizeof(V) == 8) {
    *reinterpret_cast<simt::Words8*>(p) = std::bit_cast<simt::Words8>(value);
  } else {
    *reinterpret_cast<simt::Words16*>(p) = std::bit_cast<simt::Words16>(value);
  }
#endif
}

/// bf16 and back. Rounds to nearest even; a NaN becomes the device's canonical one (0x7fff).
__device__ __forceinline__ float to_float(bfloat16 x) { return static_cast<float>(x); }
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ bfloat16 to_bf16(float x) {
#if !defined(__CUDACC__)
  if (x != x) return std::bit_cast<bfloat16>(std::uint16_t{0x7fff});
#endif
  return bfloat16(x);
}
/// Storage of type T from an fp32 result.
template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bf16(x);
  } else {
    static_assert(std::is_same_v<T, float>);
    return x;
  }
}

struct FloatPair {
  float lo, hi;
};
/// Two bf16 in one register, `lo` in the lower half: the operand layout of mma.
__device__ __forceinline__ std::uint32_t pack_bf16x2(float lo, float hi) {
#if defined(__CUDACC__)
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(hi), "f"(lo));
  return packed;
#else
  return static_cast<std::uint32_t>(to_bf16(hi).bits) << 16 | to_bf16(lo).bits;
#endif
}
__device__ __forceinline__ FloatPair unpack_bf16x2(std::uint32_t packed) {
  return {std::bit_cast<float>(packed << 16), std::bit_cast<float>(packed & 0xffff0000u)};
}

}  // namespace galrec
