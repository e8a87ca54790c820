#pragma once
// What the operations share: views of rank 1, copies of index vectors, targets of kernels that take one Accumulate for
// several gradients.

#include <initializer_list>

#include "autograd/tape.h"
#include "kernels/common/elementwise.h"

namespace galrec::autograd {

/// A (1,C) parameter as the (C) that kernels take; empty stays empty.
template <class V>
View<V, 1> as_vector(View<V, 2> v) {
  if (!v) return {};
  GALREC_CHECK(v.rows() == 1, "({}, {}) is not one row", v.rows(), v.cols());
  return View<V, 1>(v.data, {v.cols()});
}

/// The (1,1) view of a loss as (1).
template <class V>
View<V, 1> as_scalar(View<V, 2> v) {
  GALREC_CHECK(v.rows() == 1 && v.cols() == 1);
  return View<V, 1>(v.data, {1});
}

/// Memory for a gradient that nobody wants but a kernel insists on writing.
template <class T, class G>
void ensure_memory(Tape<T>& tape, GradientTarget<G>& target, std::int64_t rows, std::int64_t cols) {
  if (!target) target = {tape.arena().template matrix<G>(rows, cols), Accumulate::kOverwrite};
}

/// One Accumulate for several targets: where they differ, those to be overwritten are cleared and all are added to.
template <class T, class G>
Accumulate unify(Tape<T>& tape, std::initializer_list<GradientTarget<G>*> targets) {
  bool any_add = false;
  for (const auto* t : targets) any_add |= *t && t->accumulate == Accumulate::kAdd;
  if (!any_add) return Accumulate::kOverwrite;
  for (auto* t : targets) {
    if (!*t || t->accumulate == Accumulate::kAdd) continue;
    dispatch<T>(tape.device(), [&](auto& ctx) { fill<G>(ctx, t->view, 0); });
    t->accumulate = Accumulate::kAdd;
  }
  return Accumulate::kAdd;
}

/// The gradient that reached an output; cleared memory where none did (the other output of the node had one).
template <class T, class V>
View<V, 2> gradient_or_zero(Tape<T>& tape, const Variable<V>& v) {
  if (auto g = tape.gradient(v)) return g;
  auto target = tape.claim(v);
  ensure_memory(tape, target, v.rows(), v.cols());
  dispatch<T>(tape.device(), [&](auto& ctx) { fill<V>(ctx, target.view, 0); });
  return target.view;
}

}  // namespace galrec::autograd
