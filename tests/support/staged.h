#pragma once
// Matrices for tests that run on any backend: the memory is the context's, rows have gaps between them, guard elements around
// everything must survive, outputs start as NaN. Values go in and come out as host vectors.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"
#include "kernels/common/view.h"

namespace galrec::test {

template <class T>
class Staged {
 public:
  /// Full of NaN (of the smallest number for integers).
  template <class Context>
  Staged(Context& ctx, std::int64_t rows, std::int64_t cols, std::int64_t gap = 0)
      : Staged(ctx, rows, cols, std::vector<T>(static_cast<std::size_t>(rows * cols), poison()), gap) {}

  /// `values` row-major, converted to T (rounded to bf16 where T is bfloat16). `gap` elements between rows: use a multiple of
  /// 16 bytes to keep rows aligned for vector accesses, anything else to break that alignment.
  template <class Context, class U>
  Staged(Context& ctx, std::int64_t rows, std::int64_t cols, const std::vector<U>& values, std::int64_t gap = 0)
      : rows_(rows), cols_(cols), gap_(gap), host_(static_cast<std::size_t>(2 * kGuard + rows * (cols + gap)), guard()) {
    GALREC_CHECK(static_cast<std::int64_t>(values.size()) == rows * cols, "{} values as ({}, {})", values.size(), rows, cols);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) {
        const U& v = values[static_cast<std::size_t>(r * cols + c)];
        if constexpr (std::is_same_v<T, bfloat16> && !std::is_same_v<U, bfloat16>)
          host_[index(r, c)] = bfloat16(static_cast<float>(v));
        else
          host_[index(r, c)] = static_cast<T>(v);
      }
    }
    memory_ = Buffer<T>(std::span<const T>(host_), ctx.memory());
  }
  ~Staged() {
    if (!memory_.data()) return;
    const auto now = download();
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(now.size()); ++i) {
      const std::int64_t inner = i - kGuard;
      const bool inside = inner >= 0 && inner < rows_ * (cols_ + gap_) && inner % (cols_ + gap_) < cols_;
      const T expected = guard();
      if (!inside && std::memcmp(&now[static_cast<std::size_t>(i)], &expected, sizeof(T)) != 0) {
        ADD_FAILURE() << "a (" << rows_ << ", " << cols_ << ") matrix was overrun at offset " << inner;
        return;
      }
    }
  }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;

  View<T, 2> view() const { return View<T, 2>(memory_.data() + kGuard, {rows_, cols_}, {cols_ + gap_, 1}); }
  View<T, 1> vector() const {
    GALREC_CHECK(rows_ == 1);
    return View<T, 1>(memory_.data() + kGuard, {cols_});
  }
  operator View<T, 2>() const { return view(); }
  operator View<const T, 2>() const { return view(); }
  operator View<T, 1>() const { return vector(); }
  operator View<const T, 1>() const { return vector(); }

  /// The values now, row-major, after all work queued so far.
  std::vector<T> values() const {
    const auto now = download();
    std::vector<T> out;
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c) out.push_back(now[index(r, c)]);
    return out;
  }
  /// The same as doubles, for comparison with the oracle.
  std::vector<double> doubles() const {
    std::vector<double> out;
    for (const T& v : values()) {
      if constexpr (std::is_same_v<T, bfloat16>)
        out.push_back(static_cast<double>(static_cast<float>(v)));
      else
        out.push_back(static_cast<double>(v));
    }
    return out;
  }

 private:
  static constexpr std::int64_t kGuard = 64;
  static T guard() {
    if constexpr (std::is_same_v<T, bfloat16>) return bfloat16(-12345.0f);
    else return static_cast<T>(-12345);
  }
  static T poison() {
    if constexpr (std::is_same_v<T, bfloat16>) return bfloat16(std::numeric_limits<float>::quiet_NaN());
    else if constexpr (std::numeric_limits<T>::has_quiet_NaN) return std::numeric_limits<T>::quiet_NaN();
    else return std::numeric_limits<T>::min();
  }
  std::size_t index(std::int64_t r, std::int64_t c) const { return static_cast<std::size_t>(kGuard + r * (cols_ + gap_) + c); }
  std::vector<T> download() const {
    std::vector<T> out(host_.size());
    memory_.memory().download(out.data(), memory_.data(), out.size() * sizeof(T));
    return out;
  }

  std::int64_t rows_, cols_, gap_;
  std::vector<T> host_;
  Buffer<T> memory_;
};

/// Values rounded to T and back to double: what a kernel of T sees, and what the oracle must therefore be given.
template <class T, class U>
std::vector<double> quantized(const std::vector<U>& values) {
  std::vector<double> out;
  for (const U& v : values) {
    if constexpr (std::is_same_v<T, bfloat16>)
      out.push_back(static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(v)))));
    else
      out.push_back(static_cast<double>(static_cast<T>(v)));
  }
  return out;
}

}  // namespace galrec::test
