#include "layers/t5/decoder.h"

#include "autograd/ops/activation.h"
#include "layers/t5/stream.h"

namespace galrec::layers {

template <class T>
T5Decoder<T>::T5Decoder(ParameterStore<T>& store, const T5Config& config)
    : store_(&store),
      eps_(config.layer_norm_epsilon),
      buckets_(BucketDirection::kCausal, config.relative_attention_num_buckets,
               config.relative_attention_max_distance) {
  for (std::int64_t b = 0; b < config.num_decoder_layers; ++b) {
    const std::string block = fmt::format("decoder.block.{}.layer.", b);
    T5Attention<T> self_attention(store, block + "0.SelfAttention.", config);
    if (b == 0) {
      bias_ = store.add(block + "0.SelfAttention.relative_attention_bias.weight",
                        {config.relative_attention_num_buckets, config.num_heads});
    }
    const auto self_norm = store.add(block + "0.layer_norm.weight", {config.d_model});
    T5Attention<T> cross_attention(store, block + "1.EncDecAttention.", config);
    const auto cross_norm = store.add(block + "1.layer_norm.weight", {config.d_model});
    T5FeedForward<T> feed_forward(store, block + "2.DenseReluDense.", config);
    const auto feed_forward_norm = store.add(block + "2.layer_norm.weight", {config.d_model});
    blocks_.push_back({self_attention, self_norm, cross_attention, cross_norm, feed_forward, feed_forward_norm});
  }
  final_norm_ = store.add("decoder.final_layer_norm.weight", {config.d_model});
}

template <class T>
Variable<T> T5Decoder<T>::forward(Tape<T>& tape, Variable<Acc<T>> embedded, View<const std::int32_t, 1> cu_q,
                                  Variable<T> encoder_states, View<const std::int32_t, 1> cu_k,
                                  const DropoutRates& rates) const {
  const auto weight = [&](ParameterId id) { return tape.parameter(*store_, id); };
  const RelativeBuckets buckets = buckets_.on(tape);
  ResidualStream<T> stream{autograd::dropout(tape, embedded, rates.embedding), {}};
  BlockMemory<T> memory(tape, embedded.rows(), embedded.cols());
  for (const auto& block : blocks_) {
    memory.run(stream, [&] {
      const auto x = stream.norm(tape, weight(block.self_norm), eps_, rates.hidden);
      stream.branch = block.self_attention.self(tape, x, cu_q, weight(bias_), buckets, AttentionMask::kCausal,
                                                rates.attention);
      const auto y = stream.norm(tape, weight(block.cross_norm), eps_, rates.hidden);
      stream.branch = block.cross_attention.cross(tape, y, encoder_states, cu_q, cu_k, rates.attention);
      const auto z = stream.norm(tape, weight(block.feed_forward_norm), eps_, rates.hidden);
      stream.branch = block.feed_forward.forward(tape, z, rates.feed_forward);
    });
  }
  const auto states = stream.norm(tape, weight(final_norm_), eps_, rates.hidden);
  return autograd::dropout(tape, states, rates.output);
}

template class T5Decoder<float>;
template class T5Decoder<double>;
template class T5Decoder<bfloat16>;

}  // namespace galrec::layers
