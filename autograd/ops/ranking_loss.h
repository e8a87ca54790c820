#pragma once
// BPR and BCE on rows, and the L2 penalty (kernels/ranking_loss).

#include "autograd/tape.h"
#include "kernels/ranking_loss/ranking_loss.h"

namespace galrec::autograd {

/// (1,1), mean over rows; x, positive, negative (N,C).
template <class T>
Variable<T> ranking_loss(Tape<T>& tape, Variable<T> x, Variable<T> positive, Variable<T> negative,
                         RankingLossKind kind);

/// (1,1): 1/2 sum of x^2.
template <class T>
Variable<T> half_squared_sum(Tape<T>& tape, Variable<T> x);

}  // namespace galrec::autograd
