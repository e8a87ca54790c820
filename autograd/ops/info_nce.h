#pragma once
// InfoNCE against one positive per anchor and a shared queue of constants (kernels/info_nce).

#include "autograd/tape.h"

namespace galrec::autograd {

/// Whether the positive learns too (GAL-Rec eq. 14) or is constant (MoCo).
enum class PositiveGradient { kFlow, kStop };

template <class T>
struct InfoNceResult {
  Variable<Acc<T>> loss;           // (1,1), mean over anchors
  View<Acc<T>, 1> losses;          // (N)
  View<Acc<T>, 1> positive_score;  // (N) a.p / tau
  View<Acc<T>, 1> hardest;         // (N) largest a.k / tau of the unmasked rows, -inf if none
};

/// anchor, positive (N,C) unit rows; queue (Q,C) must live as long as the step; queue_ids (Q), own_ids (N) are copied.
template <class T>
InfoNceResult<T> info_nce(Tape<T>& tape, Variable<T> anchor, Variable<T> positive, ConstView<T, 2> queue,
                          View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids, double tau,
                          PositiveGradient positive_gradient = PositiveGradient::kFlow);

}  // namespace galrec::autograd
