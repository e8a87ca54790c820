#pragma once
// AdamW over a parameter store, with the moving average of a momentum encoder in the same pass.

#include <cstdint>
#include <vector>

#include "autograd/parameter_store.h"
#include "kernels/adamw/adamw.h"
#include "kernels/common/context.h"

namespace galrec::autograd {

struct AdamWSettings {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
};

/// What one update is made of. Nothing in it has to be known before the gradients are: norm and clipping stay on the device.
struct AdamWUpdate {
  double lr = 1e-3;
  double gradient_scale = 1;  // 1 / accumulation, 1 / loss scale
  double max_norm = 0;        // the limit of the scaled gradients' global norm, as torch.nn.utils.clip_grad_norm_; 0: none
  double momentum = 0;        // of the tracked average
  View<const double, 1> lr_and_step =
      {};  // CUDA: (2) in device memory, in place of lr and steps() + 1: for an update that is replayed
};

/// What gradients are multiplied by so that a global norm above `max_norm` becomes `max_norm`; 1 where max_norm is 0.
/// As torch.nn.utils.clip_grad_norm_.
double clip_scale(double norm, double max_norm);

/// One optimiser for one store (which must outlive it). Frozen parameters are left alone. Moments have the store's
/// layout, so that a checkpoint can cut them by its span table. Where products read bf16 operands, of the store or of the
/// tracked average's, a step writes those as well.
template <class T>
class AdamW {
 public:
  AdamW(ParameterStore<T>& parameters, const AdamWSettings& settings);

  /// Every step also moves the parameters of `momentum` that have the name of a trainable one here towards it.
  /// CheckError where shapes differ or no name matches.
  void track_average(ParameterStore<T>& momentum);


  /// Global L2 norm of the gradients as they lie in the store; gradients that nobody wrote count as 0. Waits for the device.
  double gradient_norm(const Device& device);
  /// One update. With a limit the norm is measured on the way and read by nobody: where it is not finite nothing changes, and the
  /// CPU throws NumericalError at once, CUDA at the next synchronize().
  void step(const Device& device, const AdamWUpdate& update);
  /// One update with gradients times `gradient_scale` (1 / accumulation, times clip_scale()).
  void step(const Device& device, double lr, double gradient_scale = 1.0, double momentum = 0.0) {
    step(device, AdamWUpdate{.lr = lr, .gradient_scale = gradient_scale, .momentum = momentum});
  }
  /// The norm of the gradients, before gradient_scale, that the last step with a limit or the last gradient_norm() measured. Waits
  /// for the device.
  double measured_norm() const;

  const AdamWSettings& settings() const { return settings_; }
  /// Updates done so far: the t of the bias correction.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  View<Acc<T>, 1> m() const { return m_.view(); }
  View<Acc<T>, 1> v() const { return v_.view(); }
  /// The runs of elements the kernel sees: neighbours of equal treatment are one.
  const std::vector<AdamWSpan>& spans() const { return spans_; }

 private:
  void build_spans();
  void measure(const Device& device);

  ParameterStore<T>& parameters_;
  ParameterStore<T>* average_ = nullptr;
  AdamWSettings settings_;
  std::int64_t steps_ = 0;
  Buffer<Acc<T>> m_, v_;
  std::vector<AdamWSpan> spans_;
  Buffer<AdamWSpan> span_table_;  // the same in the store's memory
  Buffer<double> square_sum_;     // (1), of the gradients
};

extern template class AdamW<float>;
extern template class AdamW<double>;
extern template class AdamW<bfloat16>;

}  // namespace galrec::autograd
