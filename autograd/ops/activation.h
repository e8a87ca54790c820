#pragma once
// Pointwise activations and dropout (kernels/activation).

#include "autograd/tape.h"
#include "kernels/activation/activation.h"

namespace galrec::autograd {

/// dropout(f(x)).
template <class T>
Variable<T> activation(Tape<T>& tape, Variable<T> x, ActivationKind kind, double dropout_rate);

/// dropout(f(a) b), all (N,C).
template <class T>
Variable<T> gated_activation(Tape<T>& tape, Variable<T> a, Variable<T> b, ActivationKind kind, double dropout_rate);

/// The same with a | b as the halves of one (N,2C) product -> (N,C).
template <class T>
Variable<T> gated_activation(Tape<T>& tape, Variable<T> ab, ActivationKind kind, double dropout_rate);

/// dropout(x); x itself where the rate is 0 or the tape does not record.
template <class T, class V>
Variable<V> dropout(Tape<T>& tape, Variable<V> x, double rate);

}  // namespace galrec::autograd
