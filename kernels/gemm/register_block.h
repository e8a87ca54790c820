#pragma once
// Small products that live in L1 and L2, without a library call or packing: c (m, n) = a b (+ c), one block of at most
// 6 rows by 4 vectors in registers at a time. For the inside of a kernel that has its operands in padded scratch already.

#include <algorithm>
#include <cstdint>

#include "kernels/common/simd.h"
#include "kernels/common/view.h"

namespace galrec {

/// The left operand of small_product: element (i, k) is data[i * row + k * depth]; a transpose is a swap of the two.
template <class T>
struct SmallOperand {
  const T* data;
  std::int64_t row, depth;
};

namespace detail {

constexpr int kBlockRows = 6, kBlockVectors = 4;

template <class T, int R, int C>
void register_block(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t k, bool add) {
  constexpr int kL = simd::kLanes<T>;
  simd::Vec<T> sum[R][C];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < C; ++v) {
      if (add) {
        simd::load<T>(sum[r][v], c + r * ldc + v * kL);
      } else {
        sum[r][v] = simd::Vec<T>{};
      }
    }
  }
  const T* column = a.data;
  for (std::int64_t d = 0; d < k; ++d, column += a.depth, b += ldb) {
    simd::Vec<T> row[C];
    for (int v = 0; v < C; ++v) simd::load<T>(row[v], b + v * kL);
    for (int r = 0; r < R; ++r) {
      const T factor = column[r * a.row];
      for (int v = 0; v < C; ++v) sum[r][v] += factor * row[v];
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < C; ++v) simd::store<T>(c + r * ldc + v * kL, sum[r][v]);
  }
}

template <class T, int C>
void column_block(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t m, std::int64_t k, bool add) {
  for (; m >= kBlockRows; m -= kBlockRows, c += kBlockRows * ldc, a.data += kBlockRows * a.row) {
    register_block<T, kBlockRows, C>(c, ldc, a, b, ldb, k, add);
  }
  switch (m) {
    case 5: return register_block<T, 5, C>(c, ldc, a, b, ldb, k, add);
    case 4: return register_block<T, 4, C>(c, ldc, a, b, ldb, k, add);
    case 3: return register_block<T, 3, C>(c, ldc, a, b, ldb, k, add);
    case 2: return register_block<T, 2, C>(c, ldc, a, b, ldb, k, add);
    case 1: return register_block<T, 1, C>(c, ldc, a, b, ldb, k, add);
    default: return;
  }
}

}  // namespace detail

/// c (m, n) = a (m, k) b (k, n), or + c. n is a multiple of kLanes<T>: b and c are padded to it and overwritten so far.
/// k = 0 gives zero. Each element is one chain of fused multiply-adds in the order of k.
template <class T>
void small_product(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t m, std::int64_t n,
                   std::int64_t k, Accumulate accumulate) {
  constexpr std::int64_t kL = simd::kLanes<T>;
  const bool add = accumulate == Accumulate::kAdd;
  for (std::int64_t j = 0; j < n; j += detail::kBlockVectors * kL) {
    switch (std::min<std::int64_t>((n - j) / kL, detail::kBlockVectors)) {
      case 4: detail::column_block<T, 4>(c + j, ldc, a, b + j, ldb, m, k, add); break;
      case 3: detail::column_block<T, 3>(c + j, ldc, a, b + j, ldb, m, k, add); break;
      case 2: detail::column_block<T, 2>(c + j, ldc, a, b + j, ldb, m, k, add); break;
      default: detail::column_block<T, 1>(c + j, ldc, a, b + j, ldb, m, k, add); break;
    }
  }
}

/// out (cols, padded rows) = x^T for x (rows, cols); the columns of out beyond `rows`, up to its row stride ld (a
/// multiple of kLanes<T>), become zero.
template <class T>
void transpose_padded(T* out, std::int64_t ld, const T* x, std::int64_t stride, std::int64_t rows, std::int64_t cols) {
  constexpr int kL = simd::kLanes<T>;
  for (std::int64_t i = 0; i < ld; i += kL) {
    for (std::int64_t j = 0; j < cols; j += kL) {
      simd::Vec<T> square[kL] = {};
      const int height = static_cast<int>(std::clamp<std::int64_t>(rows - i, 0, kL)), width = static_cast<int>(std::min<std::int64_t>(cols - j, kL));
      if (width == kL) {
        for (int r = 0; r < height; ++r) simd::load<T>(square[r], x + (i + r) * stride + j);
      } else {
        for (int r = 0; r < height; ++r) std::memcpy(&square[r], x + (i + r) * stride + j, static_cast<std::size_t>(width) * sizeof(T));
      }
      simd::transpose<T>(square);
      for (int r = 0; r < width; ++r) simd::store<T>(out + (j + r) * ld + i, square[r]);
    }
  }
}

/// Copies x (rows, cols) to rows of stride ld (a multiple of kLanes<T>, at least cols), zero beyond cols.
template <class T>
void copy_padded(T* out, std::int64_t ld, const T* x, std::int64_t stride, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t kL = simd::kLanes<T>;
  const std::int64_t whole = cols / kL * kL;
  for (std::int64_t i = 0; i < rows; ++i, x += stride, out += ld) {
    for (std::int64_t j = 0; j < whole; j += kL) {
      simd::Vec<T> v;
      simd::load<T>(v, x + j);
      simd::store<T>(out + j, v);
    }
    if (whole == ld) continue;
    std::copy(x + whole, x + cols, out + whole);
    std::fill(out + cols, out + ld, T(0));
  }
}

}  // namespace galrec
