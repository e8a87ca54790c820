#pragma once
// Pooling of packed rows and L2 normalisation (kernels/pooling). Offsets are of the step.

#include "autograd/tape.h"

namespace galrec::autograd {

/// (N,C), cu (S+1) -> (S,C): the mean of each segment's rows.
template <class T>
Variable<T> segment_mean(Tape<T>& tape, Variable<T> x, View<const std::int32_t, 1> cu);

/// Rows scaled to length 1.
template <class T>
Variable<T> l2_normalize(Tape<T>& tape, Variable<T> x);

}  // namespace galrec::autograd
