#pragma once
// Look-up of rows by index (kernels/embedding). `table` is any variable: a parameter, or activations of which rows are
// gathered. Indices are of the step (Tape::keep).

#include "autograd/tape.h"

namespace galrec::autograd {

/// y_n = table[ids_n]; (V,C), (N) -> (N,C).
template <class T, class V>
Variable<V> embedding(Tape<T>& tape, Variable<V> table, View<const std::int32_t, 1> ids);

/// y_n = x_n + table[ids_n].
template <class T>
Variable<T> add_embedding(Tape<T>& tape, Variable<T> x, Variable<T> table, View<const std::int32_t, 1> ids);

}  // namespace galrec::autograd
