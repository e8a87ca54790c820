#include "autograd/optimizer.h"

#include <algorithm>
#include <cmath>

namespace galrec::autograd {

double clip_scale(double norm, double max_norm) {
  GALREC_CHECK(max_norm >= 0);
  return max_norm == 0 ? 1.0 : std::min(1.0, max_norm / (norm + 1e-6));
}

template <class T>
AdamW<T>::AdamW(ParameterStore<T>& parameters, const AdamWSettings& settings)
    : parameters_(parameters), settings_(settings) {
  GALREC_CHECK(parameters.has_gradients(), "an optimiser needs an allocated store with gradients");
  m_ = Buffer<Acc<T>>::zeros(parameters.total(), parameters.memory());
  v_ = Buffer<Acc<T>>::zeros(parameters.total(), parameters.memory());
  square_sum_ = Buffer<double>::zeros(1, parameters.memory());
  build_spans();
}

template <class T>
void AdamW<T>::track_average(ParameterStore<T>& momentum) {
  bool any = false;
  for (const auto& span : parameters_.spans()) {
    const ParameterId id = momentum.find(span.name);
    if (id < 0 || span.trainable == Trainable::kNo) continue;
    GALREC_CHECK(momentum.span(id).shape == span.shape, "{} has another shape in the momentum store", span.name);
    any = true;
  }
  GALREC_CHECK(any, "no parameter of the momentum store has the name of a trainable one");
  average_ = &momentum;
  build_spans();
}

template <class T>
void AdamW<T>::build_spans() {
  spans_.clear();
  for (const auto& p : parameters_.spans()) {
    if (p.trainable == Trainable::kNo) continue;
    AdamWSpan span{.offset = p.offset, .size = p.size, .decay = p.decay == WeightDecay::kApply};
    const ParameterId id = average_ == nullptr ? -1 : average_->find(p.name);
    if (id >= 0) span.ema_offset = average_->span(id).offset;
    if (!spans_.empty()) {
      // The gap that aligns spans holds zeros on both sides, which the update leaves zero.
      AdamWSpan& last = spans_.back();
      const std::int64_t step = span.offset - last.offset;
      const bool next_to = step - last.size < 16;
      const bool same_average = last.ema_offset < 0 ? span.ema_offset < 0 : span.ema_offset == last.ema_offset + step;
      if (next_to && same_average && last.decay == span.decay) {
        last.size = step + span.size;
        continue;
      }
    }
    spans_.push_back(span);
  }
  const std::int64_t averaged = average_ == nullptr ? 0 : average_->total();
  check_adamw_spans(spans_, parameters_.total(), averaged);
  span_table_ = Buffer<AdamWSpan>(std::span<const AdamWSpan>(spans_), parameters_.memory());
}

template <class T>
void AdamW<T>::measure(const Device& device) {
  parameters_.finish_gradients();
  dispatch<T>(device, [&](auto& ctx) { sum_of_squares<Acc<T>>(ctx, square_sum_.view(), parameters_.gradients()); });
}

template <class T>
double AdamW<T>::measured_norm() const {
  double sum = 0;
  square_sum_.memory().download(&sum, square_sum_.data(), sizeof(sum));
  return std::sqrt(sum);
}

template <class T>
double AdamW<T>::gradient_norm(const Device& device) {
  measure(device);
  return measured_norm();
}

template <class T>
void AdamW<T>::step(const Device& device, const AdamWUpdate& update) {
  parameters_.finish_gradients();
  AdamWOptions options{.lr = update.lr,
                       .beta1 = settings_.beta1,
                       .beta2 = settings_.beta2,
                       .eps = settings_.eps,
                       .weight_decay = settings_.weight_decay,
                       .gradient_scale = update.gradient_scale,
                       .max_norm = update.max_norm,
                       .ema_momentum = update.momentum,
                       .step = steps_ + 1};
  if (update.lr_and_step) {  // what the host knows must not be captured
    options.lr_and_step = update.lr_and_step;
    options.lr = 0;
    options.step = 1;
  }
  if (update.max_norm > 0) {
    measure(device);
    options.square_sum = square_sum_.view();
  }
  const View<Acc<T>, 1> average = average_ == nullptr ? View<Acc<T>, 1>{} : average_->values();
  AdamWShadows shadows;
  if constexpr (ParameterStore<T>::kRounds) {
    shadows.param = parameters_.operands();
    if (average_ != nullptr) shadows.ema = average_->operands();
  }
  dispatch<T>(device, [&](auto& ctx) {
    adamw_step<Acc<T>>(ctx, parameters_.values(), m_.view(), v_.view(), average, shadows, parameters_.gradients(),
                       span_table_.view(), options);
  });
  ++steps_;
}

template class AdamW<float>;
template class AdamW<double>;
template class AdamW<bfloat16>;

}  // namespace galrec::autograd
