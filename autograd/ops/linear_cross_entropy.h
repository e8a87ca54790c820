#pragma once
// The last linear layer with softmax cross-entropy, without stored logits (kernels/linear_cross_entropy).

#include "autograd/tape.h"

namespace galrec::autograd {

/// Rows [first, first + count) of a head; count -1: to the end.
struct RowRange {
  std::int64_t first = 0;
  std::int64_t count = -1;
};

/// (1,1): mean over rows of -log softmax(scale x w^T + bias)[target]. x (N,C), w (V,C), bias (1,V) or {}. `targets` (N)
/// count from w_rows.first and are copied; with a bias the range must be the whole head. `losses` (N), where given,
/// receives a view of the losses per row.
template <class T>
Variable<Acc<T>> linear_cross_entropy(Tape<T>& tape, Variable<T> x, Weight<T> w, Variable<Acc<T>> bias,
                                      View<const std::int32_t, 1> targets, double scale, RowRange w_rows = {},
                                      View<Acc<T>, 1>* losses = nullptr);

}  // namespace galrec::autograd
