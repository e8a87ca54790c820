#pragma once
// A Variable names one matrix on a tape: its value now, its gradient during backward. Everything is a matrix; a
// packed batch is (tokens, channels), a scalar is (1,1).

#include <cstdint>

#include "kernels/common/view.h"

namespace galrec::autograd {

template <class T>
class Tape;

template <class T>
class Variable {
 public:
  Variable() = default;

  View<T, 2> value() const { return value_; }
  std::int64_t rows() const { return value_.rows(); }
  std::int64_t cols() const { return value_.cols(); }
  /// Whether a gradient flows into it: it depends on a trainable parameter and the tape records.
  bool requires_gradient() const { return slot_ >= 0; }
  explicit operator bool() const { return static_cast<bool>(value_); }

 private:
  friend class Tape<T>;
  Variable(View<T, 2> value, int slot) : value_(value), slot_(slot) {}

  View<T, 2> value_;
  int slot_ = -1;  // index of the gradient slot on the tape; -1: constant
};

}  // namespace galrec::autograd
