#include "autograd/ops/info_nce.h"

#include "autograd/ops/support.h"
#include "kernels/info_nce/info_nce.h"

namespace galrec::autograd {

template <class T>
InfoNceResult<T> info_nce(Tape<T>& tape, Variable<T> anchor, Variable<T> positive, ConstView<T, 2> queue,
                          View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids, double tau,
                          PositiveGradient positive_gradient) {
  if (positive_gradient == PositiveGradient::kStop) positive = tape.constant(positive.value());
  const std::int64_t n = anchor.rows();
  const auto loss = tape.template output<Acc<T>>(1, 1, {anchor, positive});
  const auto new_vector = [&] { return tape.arena().template vector<Acc<T>>(n); };
  InfoNceResult<T> result{
      .loss = loss, .losses = new_vector(), .positive_score = new_vector(), .hardest = new_vector()};
  const auto lse = new_vector();
  dispatch<T>(tape.device(), [&](auto& ctx) {
    info_nce_forward<T>(ctx, as_scalar(loss.value()), result.losses, lse, result.positive_score, result.hardest,
                        anchor.value(), positive.value(), queue, queue_ids, own_ids, tau);
  });
  tape.record("info_nce", loss, [&tape, anchor, positive, loss, lse, queue, queue_ids, own_ids, tau] {
    const View<Acc<T>, 1> dloss = as_scalar(tape.gradient(loss));
    auto danchor = tape.claim(anchor);
    ensure_memory(tape, danchor, anchor.rows(), anchor.cols());
    const auto dpositive = tape.claim(positive);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      info_nce_backward<T>(ctx, danchor.view, dpositive.view, dloss, anchor.value(), positive.value(), queue,
                           queue_ids, own_ids, lse, tau, danchor.accumulate, dpositive.accumulate);
    });
  });
  return result;
}

#define INSTANTIATE(T)                                                                                                 \
  template InfoNceResult<T> info_nce(Tape<T>&, Variable<T>, Variable<T>, ConstView<T, 2>, View<const std::int32_t, 1>, \
                                     View<const std::int32_t, 1>, double, PositiveGradient);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
