#pragma once
// Linear combinations.

#include <initializer_list>
#include <span>
#include <utility>

#include "autograd/tape.h"

namespace galrec::autograd {

/// (1,1): sum of weight times loss, each loss (1,1), in the order given.
template <class T>
Variable<Acc<T>> weighted_sum(Tape<T>& tape, std::span<const std::pair<Variable<Acc<T>>, double>> terms);
template <class T>
Variable<Acc<T>> weighted_sum(Tape<T>& tape, std::initializer_list<std::pair<Variable<Acc<T>>, double>> terms) {
  return weighted_sum<T>(tape, std::span<const std::pair<Variable<Acc<T>>, double>>(terms.begin(), terms.size()));
}

/// alpha x.
template <class T>
Variable<T> scale(Tape<T>& tape, Variable<T> x, double alpha);

/// a + b, equal shapes.
template <class T>
Variable<T> add(Tape<T>& tape, Variable<T> a, Variable<T> b);

/// x in another precision; x itself where that is its own.
template <class To, class T, class V>
Variable<To> cast(Tape<T>& tape, Variable<V> x);

/// The value of a (1,1) variable, on the host. Waits for the device: not within a step.
template <class T>
double scalar(const Tape<T>& tape, const Variable<Acc<T>>& x);

}  // namespace galrec::autograd
