#include "layers/t5/encoder.h"

#include "autograd/ops/activation.h"
#include "layers/t5/stream.h"

namespace galrec::layers {

template <class T>
T5Encoder<T>::T5Encoder(ParameterStore<T>& store, const T5Config& config)
    : store_(&store),
      eps_(config.layer_norm_epsilon),
      buckets_(BucketDirection::kBidirectional, config.relative_attention_num_buckets,
               config.relative_attention_max_distance) {
  for (std::int64_t b = 0; b < config.num_layers; ++b) {
    const std::string block = fmt::format("encoder.block.{}.layer.", b);
    T5Attention<T> attention(store, block + "0.SelfAttention.", config);
    if (b == 0) {
      bias_ = store.add(block + "0.SelfAttention.relative_attention_bias.weight",
                        {config.relative_attention_num_buckets, config.num_heads});
    }
    const auto attention_norm = store.add(block + "0.layer_norm.weight", {config.d_model});
    T5FeedForward<T> feed_forward(store, block + "1.DenseReluDense.", config);
    const auto feed_forward_norm = store.add(block + "1.layer_norm.weight", {config.d_model});
    blocks_.push_back({attention, attention_norm, feed_forward, feed_forward_norm});
  }
  final_norm_ = store.add("encoder.final_layer_norm.weight", {config.d_model});
}

template <class T>
Variable<T> T5Encoder<T>::forward(Tape<T>& tape, Variable<Acc<T>> embedded, View<const std::int32_t, 1> cu,
                                  const DropoutRates& rates) const {
  const auto weight = [&](ParameterId id) { return tape.parameter(*store_, id); };
  const RelativeBuckets buckets = buckets_.on(tape);
  ResidualStream<T> stream{autograd::dropout(tape, embedded, rates.embedding), {}};
  BlockMemory<T> memory(tape, embedded.rows(), embedded.cols());
  for (const auto& block : blocks_) {
    memory.run(stream, [&] {
      const auto x = stream.norm(tape, weight(block.attention_norm), eps_, rates.hidden);
      stream.branch =
          block.attention.self(tape, x, cu, weight(bias_), buckets, AttentionMask::kNone, rates.attention);
      const auto y = stream.norm(tape, weight(block.feed_forward_norm), eps_, rates.hidden);
      stream.branch = block.feed_forward.forward(tape, y, rates.feed_forward);
    });
  }
  const auto states = stream.norm(tape, weight(final_norm_), eps_, rates.hidden);
  return autograd::dropout(tape, states, rates.output);
}

template class T5Encoder<float>;
template class T5Encoder<double>;
template class T5Encoder<bfloat16>;

}  // namespace galrec::layers
