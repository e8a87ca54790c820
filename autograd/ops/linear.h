#pragma once
// Linear layers: y = x w^T (+ bias), w stored (out,in) as Hugging Face does.

#include <initializer_list>

#include "autograd/tape.h"

namespace galrec::autograd {

/// (N,in), (out,in) -> (N,out).
template <class T>
Variable<T> linear(Tape<T>& tape, Variable<T> x, Weight<T> w);

/// The same plus bias (1,out).
template <class T>
Variable<T> linear(Tape<T>& tape, Variable<T> x, Weight<T> w, Variable<Acc<T>> bias);

/// [x w_0^T | x w_1^T | ...] -> (N, sum of out). One product where the weights lie next to each other in memory (and so
/// do their gradients), which is why layers register q, k, v one after the other.
template <class T>
Variable<T> linear_concat(Tape<T>& tape, Variable<T> x, std::initializer_list<Weight<T>> weights);
/// The same plus one bias (1,out_k) per weight.
template <class T>
Variable<T> linear_concat(Tape<T>& tape, Variable<T> x, std::initializer_list<Weight<T>> weights,
                          std::initializer_list<Variable<Acc<T>>> biases);

}  // namespace galrec::autograd
