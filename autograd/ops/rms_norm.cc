#include "autograd/ops/rms_norm.h"

#include "autograd/ops/support.h"
#include "kernels/rms_norm/rms_norm.h"

namespace galrec::autograd {

template <class T>
Variable<T> rms_norm(Tape<T>& tape, Variable<Acc<T>> x, Variable<Acc<T>> weight, double eps) {
  const auto y = tape.output(x.rows(), x.cols(), {x, weight});
  const auto rstd = tape.arena().template vector<Acc<T>>(x.rows());
  const RmsNormOptions options{.eps = eps};
  dispatch<T>(tape.device(), [&](auto& ctx) {
    if constexpr (kStreamIsWider<T>) {
      rms_norm_forward<T>(ctx, y.value(), {}, rstd, {}, x.value(), as_vector(weight.value()), options);
    } else {
      rms_norm_forward<T>(ctx, y.value(), {}, rstd, x.value(), {}, as_vector(weight.value()), options);
    }
  });
  tape.record("rms_norm", y, [&tape, x, y, weight, rstd, options] {
    const auto dw = tape.claim(weight);
    const auto dx = tape.claim(x);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      if constexpr (kStreamIsWider<T>) {
        rms_norm_backward<T>(ctx, {}, dx.view, as_vector(dw.view), tape.gradient(y), {}, x.value(), as_vector(weight.value()), rstd,
                             options, Accumulate::kOverwrite, dx.accumulate, dw.accumulate);
      } else {
        rms_norm_backward<T>(ctx, dx.view, {}, as_vector(dw.view), tape.gradient(y), {}, x.value(), as_vector(weight.value()), rstd,
                             options, dx.accumulate, Accumulate::kOverwrite, dw.accumulate);
      }
    });
  });
  return y;
}

template <class T>
NormResult<T> rms_norm_residual(Tape<T>& tape, Variable<T> x, Variable<Acc<T>> residual, Variable<Acc<T>> weight, double eps,
                                double dropout_rate, NormInput input) {
  const RmsNormOptions options{.eps = eps, .dropout = tape.next_dropout(dropout_rate)};
  const auto y = tape.output(x.rows(), x.cols(), {x, residual, weight});
  const auto sum = norm_sum(tape, x, residual, input);
  const auto rstd = tape.arena().template vector<Acc<T>>(x.rows());
  dispatch<T>(tape.device(), [&](auto& ctx) {
    rms_norm_forward<T>(ctx, y.value(), sum.value(), rstd, x.value(), residual.value(), as_vector(weight.value()),
                        options);
  });
  tape.record("rms_norm_residual", y, sum, [&tape, x, residual, weight, y, sum, rstd, options] {
    const auto dy = gradient_or_zero(tape, y);
    const auto dsum = tape.gradient(sum);
    // The stream's gradient flows through in place: the residual takes over the memory of the sum's.
    const bool in_place = tape.hand_over(sum, residual);
    const auto dresidual = in_place ? GradientTarget<Acc<T>>{dsum, Accumulate::kOverwrite} : tape.claim(residual);
    const auto dx = tape.claim(x);
    const auto dw = tape.claim(weight);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      rms_norm_backward<T>(ctx, dx.view, dresidual.view, as_vector(dw.view), dy, dsum, sum.value(),
                           as_vector(weight.value()), rstd, options, dx.accumulate, dresidual.accumulate,
                           dw.accumulate);
    });
  });
  return {y, sum};
}

#define INSTANTIATE(T)                                                                                                \
  template Variable<T> rms_norm(Tape<T>&, Variable<Acc<T>>, Variable<Acc<T>>, double);                                \
  template NormResult<T> rms_norm_residual(Tape<T>&, Variable<T>, Variable<Acc<T>>, Variable<Acc<T>>, double, double, \
                                           NormInput);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
