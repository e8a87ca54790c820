#pragma once
// A Variable names one matrix on a tape: its value now, its gradient during backward. Everything is a matrix; a
// packed batch is (tokens, channels), a scalar is (1,1).

#include <cstdint>

#include "kernels/common/dtype.h"
#include "kernels/common/view.h"

namespace galrec::autograd {

template <class T>
class Tape;

/// What a variable is to the tape, whatever its types: a place for a gradient, or none.
class VariableSlot {
 public:
  /// Whether a gradient flows into it: it depends on a trainable parameter and the tape records.
  bool requires_gradient() const { return slot_ >= 0; }

 protected:
  template <class>
  friend class Tape;
  VariableSlot() = default;
  explicit VariableSlot(int slot) : slot_(slot) {}

  int slot_ = -1;  // index of the gradient slot on the tape; -1: constant
};

/// A value of elements V whose gradient has elements G. On a tape of storage T activations are Variable<T>; the residual stream,
/// losses and parameters Variable<Acc<T>>.
template <class V, class G = V>
class Variable : public VariableSlot {
 public:
  Variable() = default;

  View<V, 2> value() const { return value_; }
  std::int64_t rows() const { return value_.rows(); }
  std::int64_t cols() const { return value_.cols(); }
  explicit operator bool() const { return static_cast<bool>(value_); }

 private:
  template <class>
  friend class Tape;
  Variable(View<V, 2> value, int slot) : VariableSlot(slot), value_(value) {}

  View<V, 2> value_;
};

/// A parameter as products read it: in storage T, with the gradient that all parameters have.
template <class T>
using Weight = Variable<T, Acc<T>>;

}  // namespace galrec::autograd
