#pragma once
// The constants of one AdamW step, computed alike on host and device.

#include <cmath>

#include "kernels/adamw/adamw.h"
#include "kernels/common/host_device.h"

namespace galrec {

template <class T>
struct AdamWConstants {
  T decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction, eps, scale, mu, one_minus_mu;
};

/// What gradients are multiplied by. `square_sum` is that of the gradients before `gradient_scale`.
GALREC_HOST_DEVICE inline double adamw_gradient_scale(double square_sum, double gradient_scale, double max_norm) {
  if (max_norm <= 0) return gradient_scale;
  const double clip = max_norm / (gradient_scale * std::sqrt(square_sum) + 1e-6);
  return clip < 1 ? gradient_scale * clip : gradient_scale;
}

template <class T>
GALREC_HOST_DEVICE AdamWConstants<T> adamw_constants(const AdamWOptions& o, double lr, double step, double square_sum) {
  const double correction1 = 1 - std::pow(o.beta1, step), correction2 = 1 - std::pow(o.beta2, step);
  return {.decay = static_cast<T>(1 - lr * o.weight_decay),
          .beta1 = static_cast<T>(o.beta1),
          .one_minus_beta1 = static_cast<T>(1 - o.beta1),
          .beta2 = static_cast<T>(o.beta2),
          .one_minus_beta2 = static_cast<T>(1 - o.beta2),
          .step_size = static_cast<T>(lr / correction1),
          .inv_sqrt_correction = static_cast<T>(1 / std::sqrt(correction2)),
          .eps = static_cast<T>(o.eps),
          .scale = static_cast<T>(adamw_gradient_scale(square_sum, o.gradient_scale, o.max_norm)),
          .mu = static_cast<T>(o.ema_momentum),
          .one_minus_mu = static_cast<T>(1 - o.ema_momentum)};
}

/// The checks that both backends make of their arguments.
template <class T>
void check_adamw_arguments(View<T, 1> param, View<T, 1> m, View<T, 1> v, View<T, 1> ema, const AdamWShadows& shadows,
                           ConstView<T, 1> grad, const AdamWOptions& o) {
  const std::int64_t n = param.extent(0);
  GALREC_CHECK(m.extent(0) == n && v.extent(0) == n && grad.extent(0) == n,
               "m ({}), v ({}), grad ({}) for {} parameters", m.extent(0), v.extent(0), grad.extent(0), n);
  GALREC_CHECK(!shadows.param || shadows.param.extent(0) == n, "a shadow of {} for {} parameters",
               shadows.param.extent(0), n);
  GALREC_CHECK(!shadows.ema || shadows.ema.extent(0) == ema.extent(0), "a shadow of {} for averages of {}",
               shadows.ema.extent(0), ema.extent(0));
  GALREC_CHECK(o.step >= 1, "step {} is before the first", o.step);
  GALREC_CHECK(o.max_norm >= 0 && (o.max_norm == 0 || o.square_sum.extent(0) == 1),
               "clipping to {} needs the sum of squares", o.max_norm);
  GALREC_CHECK(!o.square_sum || o.square_sum.extent(0) == 1, "square_sum ({})", o.square_sum.extent(0));
  GALREC_CHECK(!o.lr_and_step || o.lr_and_step.extent(0) == 2, "lr_and_step ({})", o.lr_and_step.extent(0));
}

}  // namespace galrec
