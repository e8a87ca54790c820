#include "autograd/ops/layer_norm.h"

#include "autograd/ops/support.h"
#include "kernels/layer_norm/layer_norm.h"

namespace galrec::autograd {

template <class T>
Variable<T> layer_norm(Tape<T>& tape, Variable<T> x, Variable<T> weight, Variable<T> bias, double eps) {
  const auto y = tape.output(x.rows(), x.cols(), {x, weight, bias});
  const auto mean = tape.arena().template vector<T>(x.rows());
  const auto rstd = tape.arena().template vector<T>(x.rows());
  const LayerNormOptions options{.eps = eps};
  dispatch<T>(tape.device(), [&](auto& ctx) {
    layer_norm_forward<T>(ctx, y.value(), {}, mean, rstd, x.value(), {}, as_vector(weight.value()),
                          as_vector(bias.value()), options);
  });
  tape.record("layer_norm", y, [&tape, x, y, weight, bias, mean, rstd, options] {
    auto dw = tape.claim(weight);
    const auto dx = tape.claim(x);
    auto db = tape.claim(bias);
    const auto weight_accumulate = unify(tape, {&dw, &db});
    dispatch<T>(tape.device(), [&](auto& ctx) {
      layer_norm_backward<T>(ctx, dx.view, {}, as_vector(dw.view), as_vector(db.view), tape.gradient(y), {}, x.value(),
                             as_vector(weight.value()), mean, rstd, options, dx.accumulate, Accumulate::kOverwrite,
                             weight_accumulate);
    });
  });
  return y;
}

template <class T>
NormResult<T> layer_norm_residual(Tape<T>& tape, Variable<T> x, Variable<T> residual, Variable<T> weight,
                                  Variable<T> bias, double eps, double dropout_rate, NormInput input) {
  const LayerNormOptions options{.eps = eps, .dropout = tape.next_dropout(dropout_rate)};
  const auto y = tape.output(x.rows(), x.cols(), {x, residual, weight, bias});
  const auto sum = input == NormInput::kReuse ? tape.output_in(x.value(), {x, residual})
                                              : tape.output(x.rows(), x.cols(), {x, residual});
  const auto mean = tape.arena().template vector<T>(x.rows());
  const auto rstd = tape.arena().template vector<T>(x.rows());
  dispatch<T>(tape.device(), [&](auto& ctx) {
    layer_norm_forward<T>(ctx, y.value(), sum.value(), mean, rstd, x.value(), residual.value(),
                          as_vector(weight.value()), as_vector(bias.value()), options);
  });
  tape.record("layer_norm_residual", y, sum, [&tape, x, residual, weight, bias, y, sum, mean, rstd, options] {
    const auto dy = gradient_or_zero(tape, y);
    const auto dsum = tape.gradient(sum);
    // The stream's gradient flows through in place: the residual takes over the memory of the sum's.
    const bool in_place = tape.hand_over(sum, residual);
    const auto dresidual = in_place ? GradientTarget<T>{dsum, Accumulate::kOverwrite} : tape.claim(residual);
    const auto dx = tape.claim(x);
    auto db = tape.claim(bias);
    auto dw = tape.claim(weight);
    const auto weight_accumulate = unify(tape, {&dw, &db});
    dispatch<T>(tape.device(), [&](auto& ctx) {
      layer_norm_backward<T>(ctx, dx.view, dresidual.view, as_vector(dw.view), as_vector(db.view), dy, dsum,
                             sum.value(), as_vector(weight.value()), mean, rstd, options, dx.accumulate,
                             dresidual.accumulate, weight_accumulate);
    });
  });
  return {y, sum};
}

#define INSTANTIATE(T)                                                                                             \
  template Variable<T> layer_norm(Tape<T>&, Variable<T>, Variable<T>, Variable<T>, double);                        \
  template NormResult<T> layer_norm_residual(Tape<T>&, Variable<T>, Variable<T>, Variable<T>, Variable<T>, double, \
                                             double, NormInput);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace galrec::autograd
