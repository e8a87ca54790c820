#pragma once
// Output memory for kernel tests: NaN-poisoned, with guard elements on both sides that must survive.

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/common/view.h"

namespace galrec::test {

template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t n) : n_(n), storage_(static_cast<std::size_t>(n) + 2 * kGuard, poison()) {
    for (int i = 0; i < kGuard; ++i) {
      storage_[i] = guard();
      storage_[kGuard + n + i] = guard();
    }
  }
  Guarded(const std::vector<T>& initial) : Guarded(static_cast<std::int64_t>(initial.size())) {
    std::copy(initial.begin(), initial.end(), storage_.begin() + kGuard);
  }
  ~Guarded() {
    for (int i = 0; i < kGuard; ++i) {
      EXPECT_EQ(storage_[i], guard()) << "written " << kGuard - i << " elements before the start";
      EXPECT_EQ(storage_[kGuard + n_ + i], guard()) << "written " << i + 1 << " elements past the end";
    }
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return storage_.data() + kGuard; }
  View<T, 1> vector() { return View<T, 1>(data(), {n_}); }
  View<T, 2> matrix(std::int64_t rows, std::int64_t cols) {
    GALREC_CHECK(rows * cols == n_);
    return View<T, 2>(data(), {rows, cols});
  }
  std::vector<T> values() const { return std::vector<T>(storage_.begin() + kGuard, storage_.begin() + kGuard + n_); }

 private:
  static constexpr int kGuard = 16;
  static T guard() { return static_cast<T>(-12345); }
  static T poison() {
    if constexpr (std::numeric_limits<T>::has_quiet_NaN) return std::numeric_limits<T>::quiet_NaN();
    return std::numeric_limits<T>::min();
  }

  std::int64_t n_;
  std::vector<T> storage_;
};

}  // namespace galrec::test
