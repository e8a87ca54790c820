#include "gal/step_flops.h"

namespace galrec::gal {

namespace {

// Forward products of one block for a sequence of n tokens that attends to m.
double self_attention(const layers::T5Config& t5, double n) {
  const double inner = static_cast<double>(t5.inner()), d = static_cast<double>(t5.d_model);
  return 2 * n * (4 * d * inner) + 2 * 2 * n * n * inner;
}
double feed_forward(const layers::T5Config& t5, double n) {
  const double products = t5.feed_forward == layers::T5Config::FeedForward::kGatedGelu ? 3 : 2;
  return 2 * n * products * static_cast<double>(t5.d_model) * static_cast<double>(t5.d_ff);
}

}  // namespace

StepFlops step_flops(const HopBatch& batch, const ModelOptions& model, const GalOptions& options) {
  const auto& t5 = model.t5;
  const double layers = static_cast<double>(t5.num_layers), decoder_layers = static_cast<double>(t5.num_decoder_layers);
  const double d = static_cast<double>(t5.d_model), inner = static_cast<double>(t5.inner());
  const double steps = options.loss.columns == LossColumns::kAll ? 2 : 1;
  const double columns = options.loss.columns == LossColumns::kAll ? static_cast<double>(model.text_rows) + model.users + model.items : static_cast<double>(model.items);
  StepFlops f;
  for (std::int32_t s = 0; s < batch.samples; ++s) {
    for (const auto hop : data::kAllHops) {
      if (batch.hops == HopSet::kRecommendOnly && hop != data::Hop::kU2) continue;
      const double n = static_cast<double>(batch.prompt(s, hop).size());
      const double encoder = layers * (self_attention(t5, n) + feed_forward(t5, n));
      f.forward += encoder;
      const bool keyed = hop != data::Hop::kU1 && hop != data::Hop::kI1;
      if (options.needs_momentum_keys() && keyed) f.momentum += encoder;
      if (hop != data::Hop::kU2) continue;
      const double cross = 2 * (steps * 2 * d * inner + n * 2 * d * inner) + 2 * 2 * steps * n * inner;
      f.forward += decoder_layers * (self_attention(t5, steps) + cross + feed_forward(t5, steps));
      f.head += 3 * 2 * steps * columns * d;
    }
  }
  f.backward = 2 * f.forward;
  return f;
}

}  // namespace galrec::gal
