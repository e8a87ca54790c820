#pragma once
// What the two fused norms share.

#include <type_traits>

#include "autograd/tape.h"

namespace galrec::autograd {

/// Whether a fused norm may write `sum` over the values of x. kReuse saves an activation per layer; it is right when
/// nobody reads x afterwards, as with the output of a linear layer, whose backward does not need it. Beside bf16 storage
/// the stream is wider than x: there `sum` has memory of its own.
enum class NormInput { kKeep, kReuse };

template <class T>
struct NormResult {
  Variable<T> y;         // (N,C) normalised
  Variable<Acc<T>> sum;  // (N,C) the residual stream
};

template <class T>
inline constexpr bool kStreamIsWider = !std::is_same_v<T, Acc<T>>;

/// The variable for residual + dropout(x).
template <class T>
Variable<Acc<T>> norm_sum(Tape<T>& tape, Variable<T> x, Variable<Acc<T>> residual, NormInput input) {
  if constexpr (!kStreamIsWider<T>) {
    if (input == NormInput::kReuse) return tape.output_in(x.value(), {x, residual});
  }
  return tape.template output<Acc<T>>(x.rows(), x.cols(), {x, residual});
}

}  // namespace galrec::autograd
