#include "layers/t5/model.h"

#include <cmath>

#include "autograd/ops/embedding.h"

namespace galrec::layers {

template <class T>
T5Model<T>::T5Model(ParameterStore<T>& store, const T5Config& config, T5Rows rows)
    : store_(&store),
      config_(config),
      shared_(store.add("shared.weight", {rows.shared < 0 ? config.vocab_size : rows.shared, config.d_model})),
      encoder_(store, config),
      decoder_(store, config),
      head_(shared_) {
  if (!config.tied_head) {
    head_ = store.add("lm_head.weight", {rows.head < 0 ? config.vocab_size : rows.head, config.d_model});
  } else {
    GALREC_CHECK(rows.head < 0 || rows.head == store.span(shared_).rows(), "a tied head has the rows of shared.weight");
  }
}

template <class T>
Variable<Acc<T>> T5Model<T>::embed(Tape<T>& tape, View<const std::int32_t, 1> ids) const {
  return autograd::embedding(tape, shared(tape), ids);
}

template <class T>
double T5Model<T>::logit_scale() const {
  return config_.scale_decoder_outputs ? 1.0 / std::sqrt(static_cast<double>(config_.d_model)) : 1.0;
}

template class T5Model<float>;
template class T5Model<double>;
template class T5Model<bfloat16>;

}  // namespace galrec::layers
