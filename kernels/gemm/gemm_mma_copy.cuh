#pragma once
// How operands come to shared memory for the tensor cores: always as bf16 in swizzled rows, from bf16 by cp.async, from fp32 by
// way of registers, from unaligned rows element by element.

#include "kernels/common/mma.h"
#include "kernels/gemm/gemm_device.h"

namespace galrec::gemm_cuda {

enum class Fetch { kAsync, kConvert, kElements };

/// Offset of 16-byte chunk `chunk` of row `row` in a tile with kCols bf16 a row: eight rows of one chunk lie in different banks.
template <int kCols>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  constexpr int kChunks = kCols / 8, kRowsPerTurn = kChunks >= 8 ? 1 : 8 / kChunks, kMask = kChunks >= 8 ? 7 : kChunks - 1;
  static_assert(kCols % 8 == 0 && (kChunks & (kChunks - 1)) == 0);
  return row * kCols + (chunk ^ (row / kRowsPerTurn & kMask)) * 8;
}

__device__ __forceinline__ int clamp8(int n) { return min(max(n, 0), 8); }

/// Successive tiles of kEdge x kK elements of an operand, its rows in shared memory as they are in global memory. fetch() starts the
/// copy of the next tile, store() ends what fetch() left in registers; cp.async must be committed and waited for.
template <class T, int kEdge, int kK, int kThreads, Major kMajor, Fetch kFetch>
class TileCopy {
 public:
  static constexpr Major kTileMajor = kMajor;

  __device__ TileCopy(const Operand<T>& operand, std::int64_t edge0, std::int64_t edge, std::int64_t k0, std::int64_t k1)
      : data_(operand.data),
        stride_(operand.stride),
        row_(thread_id() / kChunks),
        chunk_(thread_id() % kChunks),
        edges_(static_cast<int>(min(edge - edge0, static_cast<std::int64_t>(kEdge)))),
        depths_(static_cast<int>(k1 - k0)) {
    const std::int64_t first_row = kMajor == Major::kDepth ? edge0 : k0, first_column = kMajor == Major::kDepth ? k0 : edge0;
    at_ = data_ + (first_row + row_) * stride_ + first_column + 8 * chunk_;
  }

  __device__ __forceinline__ void fetch(bfloat16* tile) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int row = row_ + i * kRowStep;
      const int rows = kMajor == Major::kDepth ? edges_ : depths_, columns = kMajor == Major::kDepth ? depths_ : edges_;
      const int valid = row < rows ? clamp8(columns - 8 * chunk_) : 0;
      const T* p = at_ + i * kRowStep * stride_;
      if constexpr (kFetch == Fetch::kAsync) {
        cp_async16(tile + swizzled<kCols>(row, chunk_), valid > 0 ? p : data_, valid * static_cast<int>(sizeof(T)));
      } else if (valid == 8) {
        float low[4], high[4];
        load_floats<4>(p, low);
        load_floats<4>(p + 4, high);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          value_[i][e] = low[e];
          value_[i][e + 4] = high[e];
        }
      } else {
#pragma unroll
        for (int e = 0; e < 8; ++e) value_[i][e] = e < valid ? to_float(p[e]) : 0.0f;
      }
    }
    at_ += kMajor == Major::kDepth ? kK : kK * stride_;
    depths_ -= kK;
  }
  __device__ __forceinline__ void store(bfloat16* tile) const {
    if constexpr (kFetch == Fetch::kConvert) {
#pragma unroll
      for (int i = 0; i < kPieces; ++i) store_floats<8>(tile + swizzled<kCols>(row_ + i * kRowStep, chunk_), value_[i]);
    }
  }

 private:
  static constexpr int kCols = kMajor == Major::kDepth ? kK : kEdge, kChunks = kCols / 8;
  static constexpr int kPieces = kEdge * kK / 8 / kThreads, kRowStep = kThreads / kChunks;
  static_assert(kPieces * kThreads * 8 == kEdge * kK && kRowStep * kChunks == kThreads);

  const T* data_;
  std::int64_t stride_;
  int row_, chunk_, edges_, depths_;
  const T* at_;
  float value_[kFetch == Fetch::kConvert ? kPieces : 1][8];
};

/// The same for rows that are not aligned to 16 bytes, of bf16 or fp32. The depth is contiguous in shared memory whichever way the
/// operand lies.
template <class T, int kEdge, int kK, int kThreads>
class ElementCopy {
 public:
  static constexpr Major kTileMajor = Major::kDepth;

  __device__ ElementCopy(const Operand<T>& operand, std::int64_t edge0, std::int64_t edge, std::int64_t k0, std::int64_t k1)
      : edge_step_(operand.major == Major::kDepth ? operand.stride : 1),
        depth_step_(operand.major == Major::kDepth ? 1 : operand.stride),
        major_(operand.major),
        edges_(static_cast<int>(min(edge - edge0, static_cast<std::int64_t>(kEdge)))),
        depths_(static_cast<int>(k1 - k0)),
        at_(operand.data + edge0 * edge_step_ + k0 * depth_step_) {}

  __device__ __forceinline__ void fetch(bfloat16*) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int e = edge(i), d = depth(i);
      const T* p = at_ + e * edge_step_ + d * depth_step_;
#pragma unroll
      for (int j = 0; j < 8; ++j) value_[i][j] = to_bf16(e < edges_ && d + j < depths_ ? to_float(p[j * depth_step_]) : 0.0f);
    }
    at_ += kK * depth_step_;
    depths_ -= kK;
  }
  __device__ __forceinline__ void store(bfloat16* tile) const {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) store16(tile + swizzled<kK>(edge(i), depth(i) / 8), value_[i]);
  }

 private:
  static constexpr int kPieces = kEdge * kK / 8 / kThreads;
  static_assert(kPieces * kThreads * 8 == kEdge * kK);

  // Neighbouring threads read neighbouring addresses.
  __device__ __forceinline__ int piece(int i) const { return i * kThreads + thread_id(); }
  __device__ __forceinline__ int edge(int i) const { return major_ == Major::kDepth ? piece(i) / (kK / 8) : piece(i) % kEdge; }
  __device__ __forceinline__ int depth(int i) const { return 8 * (major_ == Major::kDepth ? piece(i) % (kK / 8) : piece(i) / kEdge); }

  std::int64_t edge_step_, depth_step_;
  Major major_;
  int edges_, depths_;
  const T* at_;
  Pack<bfloat16> value_[kPieces];
};

template <class T, int kEdge, int kK, int kThreads, Major kMajor, Fetch kFetch>
using CopyFor = std::conditional_t<kFetch == Fetch::kElements, ElementCopy<T, kEdge, kK, kThreads>,
                                   TileCopy<T, kEdge, kK, kThreads, kMajor, kFetch>>;

}  // namespace galrec::gemm_cuda
