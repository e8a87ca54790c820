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

// The unrolled loops keep `sum` in registers from its first value to its store: left to itself, GCC builds and drains the
// array in memory, which costs a twentieth of the product at a depth of 64.
template <class T, int R, int C, Accumulate mode>
void register_block(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t k) {
  constexpr int kL = simd::kLanes<T>;
  simd::Vec<T> sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) {
      if constexpr (mode == Accumulate::kAdd) {
        simd::load<T>(sum[r][v], c + r * ldc + v * kL);
      } else {
        sum[r][v] = simd::Vec<T>{};
      }
    }
  }
  const T* column = a.data;
  for (std::int64_t d = 0; d < k; ++d, column += a.depth, b += ldb) {
    simd::Vec<T> row[C];
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) simd::load<T>(row[v], b + v * kL);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const T factor = column[r * a.row];
#pragma GCC unroll 4
      for (int v = 0; v < C; ++v) sum[r][v] += factor * row[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) simd::store<T>(c + r * ldc + v * kL, sum[r][v]);
  }
}

template <class T, int C, Accumulate mode>
void column_block(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t m, std::int64_t k) {
  for (; m >= kBlockRows; m -= kBlockRows, c += kBlockRows * ldc, a.data += kBlockRows * a.row) {
    register_block<T, kBlockRows, C, mode>(c, ldc, a, b, ldb, k);
  }
  switch (m) {
    case 5: return register_block<T, 5, C, mode>(c, ldc, a, b, ldb, k);
    case 4: return register_block<T, 4, C, mode>(c, ldc, a, b, ldb, k);
    case 3: return register_block<T, 3, C, mode>(c, ldc, a, b, ldb, k);
    case 2: return register_block<T, 2, C, mode>(c, ldc, a, b, ldb, k);
    case 1: return register_block<T, 1, C, mode>(c, ldc, a, b, ldb, k);
    default: return;
  }
}

// Columns in as few blocks as possible, of equal width as far as possible: 5 vectors are 3 and 2, for a block of one
// vector loads more than it multiplies.
template <class T, Accumulate mode>
void small_product(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t m, std::int64_t n, std::int64_t k) {
  for (std::int64_t left = n / simd::kLanes<T>; left > 0;) {
    const std::int64_t blocks = (left + kBlockVectors - 1) / kBlockVectors, vectors = (left + blocks - 1) / blocks;
    switch (vectors) {
      case 4: column_block<T, 4, mode>(c, ldc, a, b, ldb, m, k); break;
      case 3: column_block<T, 3, mode>(c, ldc, a, b, ldb, m, k); break;
      case 2: column_block<T, 2, mode>(c, ldc, a, b, ldb, m, k); break;
      default: column_block<T, 1, mode>(c, ldc, a, b, ldb, m, k); break;
    }
    left -= vectors;
    c += vectors * simd::kLanes<T>;
    b += vectors * simd::kLanes<T>;
  }
}

}  // namespace detail

/// c (m, n) = a (m, k) b (k, n), or + c. n is a multiple of kLanes<T>: b and c are padded to it and overwritten so far.
/// k = 0 gives zero. Each element is one chain of fused multiply-adds in the order of k.
template <class T>
void small_product(T* c, std::int64_t ldc, SmallOperand<T> a, const T* b, std::int64_t ldb, std::int64_t m, std::int64_t n,
                   std::int64_t k, Accumulate accumulate) {
  if (accumulate == Accumulate::kAdd) {
    detail::small_product<T, Accumulate::kAdd>(c, ldc, a, b, ldb, m, n, k);
  } else {
    detail::small_product<T, Accumulate::kOverwrite>(c, ldc, a, b, ldb, m, n, k);
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
