#include "autograd/ops/activation.h"

#include "autograd/ops/support.h"

namespace galrec::autograd {

namespace {

/// Pointwise backward may run in place: x takes over the gradient memory of y where it can.
template <class T, class V>
GradientTarget<V> claim_in_place(Tape<T>& tape, const Variable<V>& y, const Variable<V>& x) {
  const auto dy = tape.gradient(y);
  if (tape.hand_over(y, x)) return {dy, Accumulate::kOverwrite};
  return tape.claim(x);
}

}  // namespace

template <class T>
Variable<T> activation(Tape<T>& tape, Variable<T> x, ActivationKind kind, double dropout_rate) {
  const auto mask = tape.next_dropout(dropout_rate);
  const auto y = tape.output(x.rows(), x.cols(), {x});
  dispatch<T>(tape.device(), [&](auto& ctx) { activation_forward<T>(ctx, y.value(), x.value(), kind, mask); });
  tape.record("activation", y, [&tape, x, y, kind, mask] {
    const auto dy = tape.gradient(y);
    const auto dx = claim_in_place(tape, y, x);
    dispatch<T>(tape.device(),
             [&](auto& ctx) { activation_backward<T>(ctx, dx.view, dy, x.value(), kind, mask, dx.accumulate); });
  });
  return y;
}

template <class T>
Variable<T> gated_activation(Tape<T>& tape, Variable<T> a, Variable<T> b, ActivationKind kind, double dropout_rate) {
  const auto mask = tape.next_dropout(dropout_rate);
  const auto y = tape.output(a.rows(), a.cols(), {a, b});
  dispatch<T>(tape.device(),
           [&](auto& ctx) { gated_activation_forward<T>(ctx, y.value(), a.value(), b.value(), kind, mask); });
  tape.record("gated_activation", y, [&tape, a, b, y, kind, mask] {
    auto da = tape.claim(a);
    auto db = tape.claim(b);
    ensure_memory(tape, da, a.rows(), a.cols());
    ensure_memory(tape, db, b.rows(), b.cols());
    const auto accumulate = unify(tape, {&da, &db});
    dispatch<T>(tape.device(), [&](auto& ctx) {
      gated_activation_backward<T>(ctx, da.view, db.view, tape.gradient(y), a.value(), b.value(), kind, mask,
                                   accumulate);
    });
  });
  return y;
}

template <class T>
Variable<T> gated_activation(Tape<T>& tape, Variable<T> ab, ActivationKind kind, double dropout_rate) {
  GALREC_CHECK(ab.cols() % 2 == 0, "{} columns are not two halves", ab.cols());
  const std::int64_t half = ab.cols() / 2;
  const auto mask = tape.next_dropout(dropout_rate);
  const auto y = tape.output(ab.rows(), half, {ab});
  const auto a = ab.value().slice_cols(0, half), b = ab.value().slice_cols(half, half);
  dispatch<T>(tape.device(), [&](auto& ctx) { gated_activation_forward<T>(ctx, y.value(), a, b, kind, mask); });
  tape.record("gated_activation", y, [&tape, ab, a, b, half, y, kind, mask] {
    const auto d = tape.claim(ab);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      gated_activation_backward<T>(ctx, d.view.slice_cols(0, half), d.view.slice_cols(half, half), tape.gradient(y), a,
                                   b, kind, mask, d.accumulate);
    });
  });
  return y;
}

template <class T, class V>
Variable<V> dropout(Tape<T>& tape, Variable<V> x, double rate) {
  const auto mask = tape.next_dropout(rate);
  if (!mask.active()) return x;
  const auto y = tape.template output<V>(x.rows(), x.cols(), {x});
  dispatch<T>(tape.device(),
           [&](auto& ctx) { dropout_forward<V>(ctx, y.value(), x.value(), mask, Accumulate::kOverwrite); });
  tape.record("dropout", y, [&tape, x, y, mask] {
    const auto dy = tape.gradient(y);
    const auto dx = claim_in_place(tape, y, x);
    dispatch<T>(tape.device(), [&](auto& ctx) { dropout_forward<V>(ctx, dx.view, dy, mask, dx.accumulate); });
  });
  return y;
}

#define INSTANTIATE(T)                                                                               \
  template Variable<T> activation(Tape<T>&, Variable<T>, ActivationKind, double);                    \
  template Variable<T> gated_activation(Tape<T>&, Variable<T>, Variable<T>, ActivationKind, double); \
  template Variable<T> gated_activation(Tape<T>&, Variable<T>, ActivationKind, double);              \
  template Variable<T> dropout(Tape<T>&, Variable<T>, double);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE
template Variable<float> dropout(Tape<bfloat16>&, Variable<float>, double);

}  // namespace galrec::autograd
