#pragma once
// The two sub-layers of T5: attention without bias terms, and the feed-forward (ReLU or gated tanh-GELU).

#include <string>

#include "autograd/tape.h"
#include "kernels/attention/attention.h"
#include "layers/dropout_rates.h"
#include "layers/t5/config.h"

namespace galrec::layers {

using autograd::ParameterId;
using autograd::ParameterStore;
using autograd::Tape;
using autograd::Variable;

/// q, k, v, o of one attention, registered under `prefix` ("encoder.block.0.layer.0.SelfAttention.").
template <class T>
class T5Attention {
 public:
  T5Attention(ParameterStore<T>& store, const std::string& prefix, const T5Config& config);

  /// x (N,d) packed by cu; `table` (buckets,H) is the stack's bias.
  Variable<T> self(Tape<T>& tape, Variable<T> x, View<const std::int32_t, 1> cu, Variable<Acc<T>> table,
                   const RelativeBuckets& buckets, AttentionMask mask, double dropout_rate) const;
  /// x (M,d) attends to states (N,d), without bias.
  Variable<T> cross(Tape<T>& tape, Variable<T> x, Variable<T> states, View<const std::int32_t, 1> cu_q,
                    View<const std::int32_t, 1> cu_k, double dropout_rate) const;

 private:
  ParameterStore<T>* store_;
  int heads_;
  ParameterId q_, k_, v_, o_;
};

/// "...layer.1.DenseReluDense.": wi (ReLU) or wi_0, wi_1 (gated), and wo.
template <class T>
class T5FeedForward {
 public:
  T5FeedForward(ParameterStore<T>& store, const std::string& prefix, const T5Config& config);
  Variable<T> forward(Tape<T>& tape, Variable<T> x, double dropout_rate) const;

 private:
  ParameterStore<T>* store_;
  T5Config::FeedForward kind_;
  ParameterId wi_0_, wi_1_ = -1, wo_;
};

extern template class T5Attention<float>;
extern template class T5Attention<double>;
extern template class T5Attention<bfloat16>;
extern template class T5FeedForward<float>;
extern template class T5FeedForward<double>;
extern template class T5FeedForward<bfloat16>;

}  // namespace galrec::layers
