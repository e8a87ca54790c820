#include "gal/momentum_encoder.h"

#include <algorithm>
#include <array>

#include "autograd/ops/embedding.h"
#include "autograd/ops/pooling.h"
#include "kernels/common/check.h"
#include "kernels/common/elementwise.h"

namespace galrec::gal {

namespace {
// Which hops the queues hold, in their order.
constexpr std::array<data::Hop, kQueues> kKeyHops{data::Hop::kU0, data::Hop::kU2, data::Hop::kI0, data::Hop::kI2};
}  // namespace

template <class T>
MomentumEncoder<T>::MomentumEncoder(const GalModel<T>& model) : encoder_(store_, model.options(), model.external()) {
  store_.allocate(autograd::Trainable::kNo, model.parameters().memory());
  copy_from(model);
}

template <class T>
void MomentumEncoder<T>::copy_from(const GalModel<T>& model) {
  const auto& source = model.parameters();
  for (autograd::ParameterId id = 0; id < store_.size(); ++id) {
    store_.copy(id, source, source.require(store_.span(id).name));
  }
}

template <class T>
Keys<T> MomentumEncoder<T>::encode(autograd::Tape<T>& tape, const HopBatch& batch, const layers::DropoutRates& rates,
                                   Similarity similarity) {
  GALREC_CHECK(batch.hops == HopSet::kAll, "keys need the prompts of all hops");
  tokens_.clear();
  cu_.assign(1, 0);
  for (std::int32_t b = 0; b < batch.samples; ++b) {
    for (const auto hop : kKeyHops) {
      const auto prompt = batch.prompt(b, hop);
      tokens_.insert(tokens_.end(), prompt.begin(), prompt.end());
      cu_.push_back(static_cast<std::int32_t>(tokens_.size()));
    }
  }
  const auto cu = tape.keep(cu_);
  const auto states = encoder_.states(tape, encoder_.table(tape, batch), tape.keep(tokens_), cu, rates);
  auto pooled = encoder_.pool(tape, states, cu, cu_);
  if (similarity == Similarity::kCosine) pooled = l2_normalize(tape, pooled);
  // One contiguous block for each queue.
  Keys<T> keys;
  for (int q = 0; q < kQueues; ++q) {
    const auto rows = tape.arena().template matrix<T>(batch.samples, pooled.cols());
    const View<const T, 2> every_fourth(pooled.value().row(q), {batch.samples, pooled.cols()}, {kQueues * pooled.cols(), 1});
    dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, rows, every_fourth, 1, Accumulate::kOverwrite); });
    keys.rows[static_cast<std::size_t>(q)] = rows;
  }
  return keys;
}

template class MomentumEncoder<float>;
template class MomentumEncoder<double>;
template class MomentumEncoder<bfloat16>;

}  // namespace galrec::gal
