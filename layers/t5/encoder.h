#pragma once
// T5's encoder stack over packed prompts.

#include <vector>

#include "layers/t5/block.h"
#include "layers/t5/relative_buckets.h"

namespace galrec::layers {

template <class T>
class T5Encoder {
 public:
  /// Registers encoder.* under their Hugging Face names. The store must outlive the encoder.
  T5Encoder(ParameterStore<T>& store, const T5Config& config);

  /// embedded (N,d), the start of the residual stream, packed by cu (B+1) -> final states (N,d) after final_layer_norm.
  Variable<T> forward(Tape<T>& tape, Variable<Acc<T>> embedded, View<const std::int32_t, 1> cu,
                      const DropoutRates& rates) const;

 private:
  struct Block {
    T5Attention<T> attention;
    ParameterId attention_norm;
    T5FeedForward<T> feed_forward;
    ParameterId feed_forward_norm;
  };

  ParameterStore<T>* store_;
  double eps_;
  std::vector<Block> blocks_;
  ParameterId bias_ = -1;
  ParameterId final_norm_ = -1;
  BucketTable buckets_;
};

extern template class T5Encoder<float>;
extern template class T5Encoder<double>;
extern template class T5Encoder<bfloat16>;

}  // namespace galrec::layers
