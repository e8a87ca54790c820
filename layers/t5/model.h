#pragma once
// A whole T5: embeddings, encoder, decoder, head, over one parameter store.

#include <cstdint>

#include "layers/t5/decoder.h"
#include "layers/t5/encoder.h"

namespace galrec::layers {

/// Rows of the input table and of an untied head; -1: vocab_size. They differ where ids have head rows of their own but
/// are embedded by other means.
struct T5Rows {
  std::int64_t shared = -1;
  std::int64_t head = -1;
};

template <class T>
class T5Model {
 public:
  /// Registers shared.weight, encoder.*, decoder.* and, untied, lm_head.weight. Call store.allocate() afterwards.
  T5Model(ParameterStore<T>& store, const T5Config& config, T5Rows rows = {});

  const T5Config& config() const { return config_; }
  const T5Encoder<T>& encoder() const { return encoder_; }
  const T5Decoder<T>& decoder() const { return decoder_; }
  ParameterStore<T>& parameters() const { return *store_; }
  ParameterId shared_id() const { return shared_; }
  /// lm_head.weight, or shared.weight where tied.
  ParameterId head_id() const { return head_; }

  /// Rows of shared.weight for ids (N) -> (N,d).
  Variable<Acc<T>> embed(Tape<T>& tape, View<const std::int32_t, 1> ids) const;
  Variable<Acc<T>> shared(Tape<T>& tape) const { return tape.parameter(*store_, shared_); }
  autograd::Weight<T> head(Tape<T>& tape) const { return tape.weight(*store_, head_); }
  /// What decoder states are multiplied by before the head: d^-1/2 or 1.
  double logit_scale() const;

 private:
  ParameterStore<T>* store_;
  T5Config config_;
  ParameterId shared_;
  T5Encoder<T> encoder_;
  T5Decoder<T> decoder_;
  ParameterId head_;
};

extern template class T5Model<float>;
extern template class T5Model<double>;
extern template class T5Model<bfloat16>;

}  // namespace galrec::layers
