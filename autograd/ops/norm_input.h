#pragma once
// What the two fused norms share.

#include "autograd/variable.h"

namespace galrec::autograd {

/// Whether a fused norm may write `sum` over the values of x. kReuse saves an activation per layer; it is right when
/// nobody reads x afterwards, as with the output of a linear layer, whose backward does not need it.
enum class NormInput { kKeep, kReuse };

template <class T>
struct NormResult {
  Variable<T> y;    // (N,C) normalised
  Variable<T> sum;  // (N,C) the residual stream
};

}  // namespace galrec::autograd
