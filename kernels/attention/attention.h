#pragma once
// Multi-head attention over packed ragged batches, with T5's relative position bias and its gradient.
//
// Math      s_ij = scale q_i.k_j + table[bucket(j - i), h];  p = softmax_j(s);  o_i = sum_j dropout(p_ij) v_j
//           per sequence b and head h; causal: only j <= i. Query i and key j count from their own sequence's start.
// Shapes    q, o, dq, do (Tq, H*D) | k, v, dk, dv (Tk, H*D), rows may be strided (columns of a fused q|k|v product)
//           cu_q, cu_k (B+1) int32 offsets, cu[0] = 0 | table, dtable (buckets, H) | lse (Tq, H)
//           buckets.index (2M+1) int32: bucket of j - i clamped to [-M, M], at j - i + M
//           CUDA: T is float or bfloat16, D <= 128, M <= 512, scale > 0; every view points to device memory
// Backward  dp = dropout'(do v^T);  ds = p (dp - rowsum(do o));  dq = scale ds k (+) | dk = scale ds^T q (+) | dv = p~^T do (+)
//           dtable[b, h] = sum over the (i, j) of bucket b of ds_ij (+)
// Saved and aliasing  saved: q, k, v, o, lse. Gradients must not alias inputs.
// Numerics and determinism  exact row maxima, fp32 softmax; p is recomputed from lse; dtable is summed per (sequence, head), then
//           over sequences in order. Dropout element of (query token t, head h, key j): (t * H + h) * 4096 + j; keys <= 4096.
//           T5 uses scale 1: no 1/sqrt(D). An empty key sequence gives o = 0, lse = -inf.
//           bf16: operands of products in bf16 (p, ds too), everything else fp32. All sums in an order that depends on the
//           lengths of the sequence only, no atomics on floats: equal bits whatever the grid, the batch around it, the GPU.
//           Offsets that fall, end elsewhere than at Tq, Tk or span more than 4096 keys are reported through ctx.status().
// Launch    CPU: (sequence, head) pairs in parallel, a score strip that stays in L2
//           CUDA: a work list built on the device (attention_list_device.h), length classes, grids sized by Tq, Tk, B, H alone
// Reference Vaswani et al. 2017; Raffel et al. 2020 (relative bias); Dao et al. 2022 (backward from lse)

#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "kernels/common/view.h"

namespace galrec {

enum class AttentionMask { kNone, kCausal };

/// Bucket of every clamped distance; empty when there is no bias.
struct RelativeBuckets {
  View<const std::int32_t, 1> index;  // (2M+1)
  std::int64_t max_distance() const { return (index.extent(0) - 1) / 2; }
};

struct AttentionOptions {
  int heads = 1;
  double scale = 1.0;
  AttentionMask mask = AttentionMask::kNone;
  Dropout dropout{};
};

template <class T>
void attention_forward(CpuContext& ctx,
                       View<T, 2> o,                          // (Tq,H*D)
                       View<T, 2> lse,                        // (Tq,H)
                       ConstView<T, 2> q,                     // (Tq,H*D)
                       ConstView<T, 2> k,                     // (Tk,H*D)
                       ConstView<T, 2> v,                     // (Tk,H*D)
                       View<const std::int32_t, 1> cu_q,      // (B+1)
                       View<const std::int32_t, 1> cu_k,      // (B+1)
                       ConstView<T, 2> table,                 // (buckets,H) or empty
                       const RelativeBuckets& buckets,
                       const AttentionOptions& options);

template <class T>
void attention_backward(CpuContext& ctx,
                        View<T, 2> dq,                        // (Tq,H*D)
                        View<T, 2> dk,                        // (Tk,H*D)
                        View<T, 2> dv,                        // (Tk,H*D)
                        View<T, 2> dtable,                    // (buckets,H) or empty
                        ConstView<T, 2> dout,                 // (Tq,H*D)
                        ConstView<T, 2> q, ConstView<T, 2> k, ConstView<T, 2> v,
                        ConstView<T, 2> o, ConstView<T, 2> lse,
                        View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k,
                        ConstView<T, 2> table, const RelativeBuckets& buckets, const AttentionOptions& options,
                        Accumulate dqkv_accumulate,
                        Accumulate dtable_accumulate);

/// The same on the device. What stays fp32 for either T: lse, table, dtable. CheckError for shapes that do not fit.
template <class T>
void attention_forward(CudaContext& ctx,
                       View<T, 2> o,                          // (Tq,H*D)
                       View<Acc<T>, 2> lse,                   // (Tq,H)
                       ConstView<T, 2> q,                     // (Tq,H*D)
                       ConstView<T, 2> k,                     // (Tk,H*D)
                       ConstView<T, 2> v,                     // (Tk,H*D)
                       View<const std::int32_t, 1> cu_q,      // (B+1)
                       View<const std::int32_t, 1> cu_k,      // (B+1)
                       ConstView<Acc<T>, 2> table,            // (buckets,H) or empty
                       const RelativeBuckets& buckets,
                       const AttentionOptions& options);

template <class T>
void attention_backward(CudaContext& ctx,
                        View<T, 2> dq,                        // (Tq,H*D)
                        View<T, 2> dk,                        // (Tk,H*D)
                        View<T, 2> dv,                        // (Tk,H*D)
                        View<Acc<T>, 2> dtable,               // (buckets,H) or empty
                        ConstView<T, 2> dout,                 // (Tq,H*D)
                        ConstView<T, 2> q, ConstView<T, 2> k, ConstView<T, 2> v,
                        ConstView<T, 2> o, ConstView<Acc<T>, 2> lse,
                        View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k,
                        ConstView<Acc<T>, 2> table, const RelativeBuckets& buckets, const AttentionOptions& options,
                        Accumulate dqkv_accumulate,
                        Accumulate dtable_accumulate);

}  // namespace galrec
