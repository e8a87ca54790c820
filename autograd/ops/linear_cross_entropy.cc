#include "autograd/ops/linear_cross_entropy.h"

#include "autograd/ops/support.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace galrec::autograd {

namespace {

/// The gradient rows of the range; the others are cleared if nobody wrote them before.
template <class T>
GradientTarget<Acc<T>> claim_rows(Tape<T>& tape, const Weight<T>& w, std::int64_t first, std::int64_t count) {
  auto dw = tape.claim(w);
  if (!dw) return dw;
  if (dw.accumulate == Accumulate::kOverwrite) {
    dispatch<T>(tape.device(), [&](auto& ctx) {
      fill<Acc<T>>(ctx, dw.view.slice_rows(0, first), 0);
      fill<Acc<T>>(ctx, dw.view.slice_rows(first + count, w.rows() - first - count), 0);
    });
  }
  return {dw.view.slice_rows(first, count), dw.accumulate};
}

}  // namespace

template <class T>
Variable<Acc<T>> linear_cross_entropy(Tape<T>& tape, Variable<T> x, Weight<T> w, Variable<Acc<T>> bias,
                                      View<const std::int32_t, 1> targets, double scale, RowRange w_rows,
                                      View<Acc<T>, 1>* losses_out) {
  const std::int64_t first = w_rows.first;
  const std::int64_t count = w_rows.count < 0 ? w.rows() - first : w_rows.count;
  GALREC_CHECK(first >= 0 && first + count <= w.rows(), "rows [{}, {}) of a head of {}", first, first + count,
               w.rows());
  GALREC_CHECK(!bias || count == w.rows(), "a bias needs the whole head");
  const auto loss = tape.template output<Acc<T>>(1, 1, {x, w, bias});
  const auto losses = tape.arena().template vector<Acc<T>>(x.rows());
  const auto lse = tape.arena().template vector<Acc<T>>(x.rows());
  dispatch<T>(tape.device(), [&](auto& ctx) {
    linear_cross_entropy_forward<T>(ctx, as_scalar(loss.value()), losses, lse, x.value(),
                                    w.value().slice_rows(first, count), as_vector(bias.value()), targets, scale);
  });
  if (losses_out != nullptr) *losses_out = losses;
  tape.record("linear_cross_entropy", loss, [&tape, x, w, bias, loss, lse, targets, scale, first, count] {
    const auto dloss = as_scalar(tape.gradient(loss));
    const auto dx = tape.claim(x);
    auto dw = claim_rows(tape, w, first, count);
    auto db = tape.claim(bias);
    const auto w_accumulate = unify(tape, {&dw, &db});
    dispatch<T>(tape.device(), [&](auto& ctx) {
      linear_cross_entropy_backward<T>(ctx, dx.view, dw.view, as_vector(db.view), dloss, x.value(),
                                       w.value().slice_rows(first, count), as_vector(bias.value()), targets, lse, scale,
                                       dx.accumulate, w_accumulate);
    });
  });
  return loss;
}

#define INSTANTIATE(T)                                                                               \
  template Variable<Acc<T>> linear_cross_entropy(Tape<T>&, Variable<T>, Weight<T>, Variable<Acc<T>>, \
                                                 View<const std::int32_t, 1>, double, RowRange, View<Acc<T>, 1>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
