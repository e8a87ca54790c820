#include "gal/momentum_encoder.h"

#include "autograd/ops/embedding.h"
#include "autograd/ops/pooling.h"
#include "kernels/common/check.h"
#include "kernels/common/elementwise.h"

namespace galrec::gal {

template <class T>
MomentumEncoder<T>::MomentumEncoder(const GalModel<T>& model)
    : options_(model.options()), encoder_(store_, options_, model.external()) {
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
  const BatchLists<T> lists(batch, options_, 0);
  return encode(tape, lists.put(tape.arena().memory(), tape.arena().template alloc<std::byte>(lists.bytes())), rates,
                similarity);
}

template <class T>
Keys<T> MomentumEncoder<T>::encode(autograd::Tape<T>& tape, const DeviceBatch<T>& batch,
                                   const layers::DropoutRates& rates, Similarity similarity) {
  GALREC_CHECK(batch.hops == HopSet::kAll, "keys need the prompts of all hops");
  const auto states = encoder_.states(tape, encoder_.table(tape, batch), batch.key_tokens, batch.key_cu, rates);
  auto pooled = encoder_.pool(tape, states, batch.key_cu, batch.key_pool_rows);
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
