#pragma once
// Joining and cutting matrices by rows.

#include <span>
#include <vector>

#include "autograd/tape.h"

namespace galrec::autograd {

/// The parts below each other; all have C columns. Parts of no rows are fine.
template <class T, class V>
Variable<V> concat_rows(Tape<T>& tape, std::span<const Variable<V>> parts);
template <class T, class V>
Variable<V> concat_rows(Tape<T>& tape, std::initializer_list<Variable<V>> parts) {
  return concat_rows<T, V>(tape, std::span<const Variable<V>>(parts.begin(), parts.size()));
}
template <class T, class V>
Variable<V> concat_rows(Tape<T>& tape, const std::vector<Variable<V>>& parts) {
  return concat_rows<T, V>(tape, std::span<const Variable<V>>(parts));
}

/// A copy of rows [first, first + count).
template <class T>
Variable<T> slice_rows(Tape<T>& tape, Variable<T> x, std::int64_t first, std::int64_t count);

}  // namespace galrec::autograd
