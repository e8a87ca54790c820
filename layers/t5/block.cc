#include "layers/t5/block.h"

#include "autograd/ops/activation.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/linear.h"

namespace galrec::layers {

template <class T>
T5Attention<T>::T5Attention(ParameterStore<T>& store, const std::string& prefix, const T5Config& config)
    : store_(&store), heads_(static_cast<int>(config.num_heads)) {
  const std::int64_t inner = config.inner();
  q_ = store.add(prefix + "q.weight", {inner, config.d_model});
  k_ = store.add(prefix + "k.weight", {inner, config.d_model});
  v_ = store.add(prefix + "v.weight", {inner, config.d_model});
  o_ = store.add(prefix + "o.weight", {config.d_model, inner});
}

template <class T>
Variable<T> T5Attention<T>::self(Tape<T>& tape, Variable<T> x, View<const std::int32_t, 1> cu, Variable<Acc<T>> table,
                                 const RelativeBuckets& buckets, AttentionMask mask, double dropout_rate) const {
  const auto weight = [&](ParameterId id) { return tape.weight(*store_, id); };
  const auto qkv = autograd::linear_concat(tape, x, {weight(q_), weight(k_), weight(v_)});
  const auto o = autograd::self_attention(tape, qkv, cu, table, buckets, heads_, 1.0, mask, dropout_rate);
  return autograd::linear(tape, o, weight(o_));
}

template <class T>
Variable<T> T5Attention<T>::cross(Tape<T>& tape, Variable<T> x, Variable<T> states, View<const std::int32_t, 1> cu_q,
                                  View<const std::int32_t, 1> cu_k, double dropout_rate) const {
  const auto weight = [&](ParameterId id) { return tape.weight(*store_, id); };
  const auto q = autograd::linear(tape, x, weight(q_));
  const auto kv = autograd::linear_concat(tape, states, {weight(k_), weight(v_)});
  const auto o = autograd::cross_attention(tape, q, kv, cu_q, cu_k, heads_, 1.0, dropout_rate);
  return autograd::linear(tape, o, weight(o_));
}

template <class T>
T5FeedForward<T>::T5FeedForward(ParameterStore<T>& store, const std::string& prefix, const T5Config& config)
    : store_(&store), kind_(config.feed_forward) {
  if (kind_ == T5Config::FeedForward::kGatedGelu) {
    wi_0_ = store.add(prefix + "wi_0.weight", {config.d_ff, config.d_model});
    wi_1_ = store.add(prefix + "wi_1.weight", {config.d_ff, config.d_model});
  } else {
    wi_0_ = store.add(prefix + "wi.weight", {config.d_ff, config.d_model});
  }
  wo_ = store.add(prefix + "wo.weight", {config.d_model, config.d_ff});
}

template <class T>
Variable<T> T5FeedForward<T>::forward(Tape<T>& tape, Variable<T> x, double dropout_rate) const {
  const auto weight = [&](ParameterId id) { return tape.weight(*store_, id); };
  Variable<T> hidden;
  if (kind_ == T5Config::FeedForward::kGatedGelu) {
    const auto both = autograd::linear_concat(tape, x, {weight(wi_0_), weight(wi_1_)});
    hidden = autograd::gated_activation(tape, both, ActivationKind::kGeluTanh, dropout_rate);
  } else {
    hidden = autograd::activation(tape, autograd::linear(tape, x, weight(wi_0_)), ActivationKind::kRelu, dropout_rate);
  }
  return autograd::linear(tape, hidden, weight(wo_));
}

template class T5Attention<float>;
template class T5Attention<double>;
template class T5Attention<bfloat16>;
template class T5FeedForward<float>;
template class T5FeedForward<double>;
template class T5FeedForward<bfloat16>;

}  // namespace galrec::layers
