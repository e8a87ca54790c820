#include "autograd/ops/ranking_loss.h"

#include "autograd/ops/support.h"

namespace galrec::autograd {

template <class T>
Variable<T> ranking_loss(Tape<T>& tape, Variable<T> x, Variable<T> positive, Variable<T> negative,
                         RankingLossKind kind) {
  const auto loss = tape.output(1, 1, {x, positive, negative});
  const auto positive_score = tape.arena().template vector<T>(x.rows());
  const auto negative_score = tape.arena().template vector<T>(x.rows());
  dispatch<T>(tape.device(), [&](auto& ctx) {
    ranking_loss_forward<T>(ctx, as_scalar(loss.value()), positive_score, negative_score, x.value(), positive.value(),
                            negative.value(), kind);
  });
  tape.record("ranking_loss", loss, [&tape, x, positive, negative, loss, positive_score, negative_score, kind] {
    const auto dloss = as_scalar(tape.gradient(loss));
    auto dx = tape.claim(x), dp = tape.claim(positive), dn = tape.claim(negative);
    for (auto* target : {&dx, &dp, &dn}) ensure_memory(tape, *target, x.rows(), x.cols());
    const auto accumulate = unify(tape, {&dx, &dp, &dn});
    dispatch<T>(tape.device(), [&](auto& ctx) {
      ranking_loss_backward<T>(ctx, dx.view, dp.view, dn.view, dloss, x.value(), positive.value(), negative.value(),
                               positive_score, negative_score, kind, accumulate);
    });
  });
  return loss;
}

template <class T>
Variable<T> half_squared_sum(Tape<T>& tape, Variable<T> x) {
  const auto y = tape.output(1, 1, {x});
  dispatch<T>(tape.device(), [&](auto& ctx) { galrec::half_squared_sum<T>(ctx, as_scalar(y.value()), x.value()); });
  tape.record("half_squared_sum", y, [&tape, x, y] {
    const View<const T, 1> dy = as_scalar(tape.gradient(y));
    const auto dx = tape.claim(x);
    dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, dx.view, x.value(), dy, dx.accumulate); });
  });
  return y;
}

#define INSTANTIATE(T)                                                                                 \
  template Variable<T> ranking_loss(Tape<T>&, Variable<T>, Variable<T>, Variable<T>, RankingLossKind); \
  template Variable<T> half_squared_sum(Tape<T>&, Variable<T>);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace galrec::autograd
