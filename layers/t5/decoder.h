#pragma once
// T5's decoder stack: causal self-attention, cross-attention, feed-forward.

#include <vector>

#include "layers/t5/block.h"
#include "layers/t5/relative_buckets.h"

namespace galrec::layers {

template <class T>
class T5Decoder {
 public:
  /// Registers decoder.* under their Hugging Face names. The store must outlive the decoder.
  T5Decoder(ParameterStore<T>& store, const T5Config& config);

  /// embedded (M,d), the start of the residual stream, packed by cu_q (B+1), encoder_states (N,d) packed by cu_k (B+1) ->
  /// final states (M,d).
  Variable<T> forward(Tape<T>& tape, Variable<Acc<T>> embedded, View<const std::int32_t, 1> cu_q, Variable<T> encoder_states,
                      View<const std::int32_t, 1> cu_k, const DropoutRates& rates) const;

 private:
  struct Block {
    T5Attention<T> self_attention;
    ParameterId self_norm;
    T5Attention<T> cross_attention;
    ParameterId cross_norm;
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

extern template class T5Decoder<float>;
extern template class T5Decoder<double>;
extern template class T5Decoder<bfloat16>;

}  // namespace galrec::layers
