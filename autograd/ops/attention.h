#pragma once
// Multi-head attention over packed sequences (kernels/attention). Offsets and bucket indices are of the step (Tape::keep).

#include "autograd/tape.h"
#include "kernels/attention/attention.h"

namespace galrec::autograd {

/// q (Tq,H*D), k and v (Tk,H*D), cu_q and cu_k (B+1), `table` (buckets,H) or {} -> (Tq,H*D).
template <class T>
Variable<T> attention(Tape<T>& tape, Variable<T> q, Variable<T> k, Variable<T> v, View<const std::int32_t, 1> cu_q,
                      View<const std::int32_t, 1> cu_k, Variable<Acc<T>> table, const RelativeBuckets& buckets, int heads,
                      double scale, AttentionMask mask, double dropout_rate);

/// Self-attention on a fused q | k | v product (N,3*H*D) -> (N,H*D).
template <class T>
Variable<T> self_attention(Tape<T>& tape, Variable<T> qkv, View<const std::int32_t, 1> cu, Variable<Acc<T>> table,
                           const RelativeBuckets& buckets, int heads, double scale, AttentionMask mask,
                           double dropout_rate);

/// Cross-attention on q (Tq,H*D) and a fused k | v product (Tk,2*H*D), without position bias -> (Tq,H*D).
template <class T>
Variable<T> cross_attention(Tape<T>& tape, Variable<T> q, Variable<T> kv, View<const std::int32_t, 1> cu_q,
                            View<const std::int32_t, 1> cu_k, int heads, double scale, double dropout_rate);

}  // namespace galrec::autograd
