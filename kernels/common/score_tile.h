#pragma once
// A block's tile of scores q_n . w_v, kept in the registers of its 256 threads: both operands stream through shared memory in
// slices of 128 bytes a row (cp.async, three stages); bf16 on the tensor cores, fp32 by FFMA in full precision. What becomes of
// the scores is the caller's: nothing is stored here. Every score is summed in the same order wherever it lies in a tile, so
// that equal rows have equal scores.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/common/mma.h"
#include "kernels/common/view.h"
#include "kernels/common/warp.h"

namespace galrec {

/// How rows come in: 16 bytes at a time, or, where they are not aligned to that, element by element.
enum class RowAccess { kVector, kScalar };

template <class T>
RowAccess row_access(View<const T, 2> a, View<const T, 2> b) {
  const auto aligned = [](const View<const T, 2>& v) {
    const bool stride = v.rows() <= 1 || v.stride[0] * static_cast<std::int64_t>(sizeof(T)) % 16 == 0;
    return stride && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
  };
  GALREC_CHECK(std::max({a.stride[0], b.stride[0], a.cols()}) < 0x7fffffff, "rows {} and {} elements apart", a.stride[0],
               b.stride[0]);
  return aligned(a) && aligned(b) ? RowAccess::kVector : RowAccess::kScalar;
}

inline constexpr int kTileThreads = 256;
inline constexpr int kTileColumns = 128;

/// The rows of a matrix from one on; null past its end.
template <class T>
struct RowsFrom {
  const T* data;
  int stride, count;
  __device__ __forceinline__ RowsFrom(const View<const T, 2>& matrix, std::int64_t first)
      : data(matrix.row(first)),
        stride(static_cast<int>(matrix.stride[0])),
        count(static_cast<int>(min(matrix.rows() - first, std::int64_t{kTileColumns}))) {}
  __device__ __forceinline__ const T* row(int local) const {
    return local < count ? data + static_cast<std::int64_t>(local) * stride : nullptr;
  }
};

/// Rows of a matrix picked by `indices` from `first` on; null past their end and for an index that is no row.
template <class T>
struct RowsPicked {
  const T* data;
  int stride, count, rows;
  const std::int32_t* indices;
  __device__ __forceinline__ RowsPicked(const View<const T, 2>& matrix, const View<const std::int32_t, 1>& all, std::int64_t first)
      : data(matrix.data),
        stride(static_cast<int>(matrix.stride[0])),
        count(static_cast<int>(min(all.extent(0) - first, std::int64_t{kTileColumns}))),
        rows(static_cast<int>(matrix.rows())),
        indices(all.data + first) {}
  __device__ __forceinline__ const T* row(int local) const {
    if (local >= count) return nullptr;
    const std::int32_t r = indices[local];
    return r >= 0 && r < rows ? data + static_cast<std::int64_t>(r) * stride : nullptr;
  }
};

/// Rows of a tile: 64 where there are no more, so that few queries do not pay for many.
inline int tile_rows(std::int64_t rows) {
  return rows <= 64 ? 64 : 128;
}

template <class T, int kRows>
class ScoreTile {
  static constexpr bool kTensorCores = std::is_same_v<T, bfloat16>;
  static constexpr int kStages = 3;
  static constexpr int kChunks = 8;  // of 16 bytes in a slice of a row
  static constexpr int kPack = 16 / static_cast<int>(sizeof(T));
  static constexpr int kDepth = kChunks * kPack;

 public:
  /// A thread holds kThreadRows x kThreadColumns scores; kRowLanes neighbouring lanes of kRowWarps warps share a row.
  static constexpr int kThreadRows = kRows / 16;
  static constexpr int kThreadColumns = 8;
  static constexpr int kRowLanes = kTensorCores ? 4 : 16;
  static constexpr int kRowWarps = kTensorCores ? 4 : 1;

  struct Panels {
    alignas(128) T left[kStages][kRows][kDepth];
    alignas(128) T right[kStages][kTileColumns][kDepth];
  };

  /// Of the tile: the row of a thread's i-th, the column of its j-th scores.
  __device__ __forceinline__ static int row(int i) {
    if constexpr (kTensorCores) return warp_id() / 4 * (kRows / 2) + i / 2 * 16 + i % 2 * 8 + lane_id() / 4;
    return thread_id() / 16 + 16 * i;
  }
  __device__ __forceinline__ static int column(int j) {
    if constexpr (kTensorCores) return warp_id() % 4 * 32 + j / 2 * 8 + lane_id() % 4 * 2 + j % 2;
    return thread_id() % 16 + 16 * j;
  }
  /// A thread's scores of a row fall into as many 32-column words as it takes at kWordColumns each, in the order of j.
  static constexpr int kWordColumns = kTensorCores ? 8 : 2;
  /// Which of the kRowWarps warps that share this thread's rows it belongs to.
  __device__ __forceinline__ static int row_warp() { return kTensorCores ? warp_id() % 4 : 0; }

  /// Bit j: this thread's j-th column lies below `count`.
  __device__ __forceinline__ static unsigned columns_below(int count) {
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < kThreadColumns; ++j) bits |= (column(j) < count ? 1u : 0u) << static_cast<unsigned>(j);
    return bits;
  }

  __device__ __forceinline__ float& at(int i, int j) {
    return sum_[i / 2][j / 2][i % 2 * 2 + j % 2];
  }

  /// The products of `left` rows with `right` rows of `depth` elements; rows that are null count as zeros. All threads of the
  /// block take part; `panels` must not be in use before and is free after (there is a barrier at the end).
  template <RowAccess kAccess, class Left, class Right>
  __device__ __forceinline__ void compute(Panels& panels, const Left& left, const Right& right, int depth) {
#pragma unroll
    for (int i = 0; i < kThreadRows; ++i) {
#pragma unroll
      for (int j = 0; j < kThreadColumns; ++j) at(i, j) = 0;
    }
    const auto load = [&](int slice) {
      const int stage = slice % kStages;
      load_panel<kAccess>(panels.left[stage], left, slice * kDepth, depth);
      load_panel<kAccess>(panels.right[stage], right, slice * kDepth, depth);
    };
    const int slices = (depth + kDepth - 1) / kDepth;
#pragma unroll
    for (int slice = 0; slice < kStages - 1; ++slice) {
      if (slice < slices) load(slice);
      cp_async_commit();
    }
#pragma unroll 1
    for (int slice = 0; slice < slices; ++slice) {
      cp_async_wait<kStages - 2>();
      __syncthreads();
      if (slice + kStages - 1 < slices) load(slice + kStages - 1);
      cp_async_commit();
      const int stage = slice % kStages;
      multiply(panels.left[stage], panels.right[stage]);
    }
    cp_async_wait<0>();
    __syncthreads();
  }

 private:
  // Where the 16 bytes `chunk` of a row lie: eight rows of the same chunk fall into different banks.
  __device__ __forceinline__ static int swizzled(int row, int chunk) {
    return (chunk ^ (row & 7)) * kPack;
  }

  template <RowAccess kAccess, int kPanelRows, class Rows>
  __device__ __forceinline__ static void load_panel(T (&panel)[kPanelRows][kDepth], const Rows& rows, int first, int depth) {
    const int chunk = thread_id() % kChunks;
    const int at = first + chunk * kPack;
    const int valid = max(0, min(kPack, depth - at));
#pragma unroll 1  // or the addresses of all copies stay in registers that the scores need
    for (int i = 0; i < kPanelRows * kChunks / kTileThreads; ++i) {
      const int r = thread_id() / kChunks + i * (kTileThreads / kChunks);
      const T* from = rows.row(r);
      T* to = &panel[r][swizzled(r, chunk)];
      const int elements = from == nullptr ? 0 : valid;
      if constexpr (kAccess == RowAccess::kVector) {
        cp_async16(to, elements == 0 ? rows.data : from + at, elements * static_cast<int>(sizeof(T)));
      } else {
        Pack<T> pack;
#pragma unroll
        for (int e = 0; e < kPack; ++e) pack[e] = e < elements ? from[at + e] : from_float<T>(0);
        store16(to, pack);
      }
    }
  }

  __device__ __forceinline__ void multiply(const T (&left)[kRows][kDepth], const T (&right)[kTileColumns][kDepth]) {
    if constexpr (kTensorCores) {
      const int lane = lane_id();
      const int left_row = warp_id() / 4 * (kRows / 2) + lane % 16;
      const int right_row = warp_id() % 4 * 32 + lane / 16 * 8 + lane % 8;
#pragma unroll
      for (int k = 0; k < kDepth / 16; ++k) {
        std::uint32_t a[kThreadRows / 2][4], b[2][4];
#pragma unroll
        for (int m = 0; m < kThreadRows / 2; ++m) {
          ldmatrix_x4(a[m], &left[left_row + m * 16][swizzled(left_row, k * 2 + lane / 16)]);
        }
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          ldmatrix_x4(b[n], &right[right_row + n * 16][swizzled(right_row, k * 2 + lane / 8 % 2)]);
        }
#pragma unroll
        for (int m = 0; m < kThreadRows / 2; ++m) {
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            const std::uint32_t pair[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
            mma_m16n8k16_bf16(sum_[m][n], a[m], pair);
          }
        }
      }
    } else {
      const int left_row = thread_id() / 16, right_row = thread_id() % 16;
#pragma unroll 2
      for (int k = 0; k < kChunks; ++k) {
        Pack<T> a[kThreadRows];
#pragma unroll
        for (int i = 0; i < kThreadRows; ++i) a[i] = load16(&left[left_row + 16 * i][swizzled(left_row, k)]);
#pragma unroll
        for (int j = 0; j < kThreadColumns; ++j) {
          const Pack<T> b = load16(&right[right_row + 16 * j][swizzled(right_row, k)]);
#pragma unroll
          for (int i = 0; i < kThreadRows; ++i) {
#pragma unroll
            for (int e = 0; e < kPack; ++e) at(i, j) = __fmaf_rn(a[i][e], b[e], at(i, j));
          }
        }
      }
    }
  }

  float sum_[kThreadRows / 2][4][4];
};

}  // namespace galrec
