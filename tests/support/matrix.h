#pragma once
// Matrices for kernel tests: rows with gaps between them (a view into a wider matrix), guard elements in the gaps and
// at both ends that must survive, outputs poisoned with NaN. Also the plain form of a row dropout mask.

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/common/dropout.h"
#include "kernels/common/view.h"

namespace galrec::test {

template <class T>
class Matrix {
 public:
  /// NaN-poisoned.
  Matrix(std::int64_t rows, std::int64_t cols, std::int64_t gap = 5)
      : rows_(rows),
        cols_(cols),
        gap_(gap),
        storage_(static_cast<std::size_t>(2 * kGuard + rows * (cols + gap)), kValue) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) storage_[index(r, c)] = std::numeric_limits<T>::quiet_NaN();
    }
  }
  template <class U>
  Matrix(std::int64_t rows, std::int64_t cols, const std::vector<U>& values, std::int64_t gap = 5)
      : Matrix(rows, cols, gap) {
    GALREC_CHECK(static_cast<std::int64_t>(values.size()) == rows * cols, "{} values as ({}, {})", values.size(), rows,
                 cols);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) storage_[index(r, c)] = static_cast<T>(values[r * cols + c]);
    }
  }
  ~Matrix() {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(storage_.size()); ++i) {
      const std::int64_t inner = i - kGuard;
      const bool inside = inner >= 0 && inner < rows_ * (cols_ + gap_) && inner % (cols_ + gap_) < cols_;
      if (!inside && storage_[i] != kValue) {
        ADD_FAILURE() << "a (" << rows_ << ", " << cols_ << ") matrix was overrun at offset " << inner;
        return;
      }
    }
  }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  View<T, 2> view() { return View<T, 2>(storage_.data() + kGuard, {rows_, cols_}, {cols_ + gap_, 1}); }
  View<T, 1> vector() {
    GALREC_CHECK(rows_ == 1);
    return View<T, 1>(storage_.data() + kGuard, {cols_});
  }
  operator View<T, 2>() { return view(); }
  operator View<const T, 2>() { return view(); }
  operator View<T, 1>() { return vector(); }
  operator View<const T, 1>() { return vector(); }

  std::vector<T> values() const {
    std::vector<T> out;
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t c = 0; c < cols_; ++c) out.push_back(storage_[index(r, c)]);
    }
    return out;
  }

 private:
  static constexpr std::int64_t kGuard = 16;
  static constexpr T kValue = T(-12345);
  std::size_t index(std::int64_t r, std::int64_t c) const {
    return static_cast<std::size_t>(kGuard + r * (cols_ + gap_) + c);
  }

  std::int64_t rows_, cols_, gap_;
  std::vector<T> storage_;
};

/// Multipliers of an (N,C) matrix, element by element from the definition in kernels/common/dropout.h.
inline std::vector<double> plain_mask(const Dropout& dropout, std::int64_t rows, std::int64_t cols) {
  std::vector<double> out;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::uint64_t e = static_cast<std::uint64_t>(r) * dropout_row_stride(cols) + static_cast<std::uint64_t>(c);
      const std::uint32_t word = philox(dropout.key, e / 8)[e % 8 / 2];
      const std::uint32_t bits = e % 2 == 0 ? word & 0xffffu : word >> 16;
      out.push_back(bits < dropout.threshold() ? 0.0 : dropout.scale());
    }
  }
  return out;
}

}  // namespace galrec::test
