#pragma once
// Full ranking: the best K items of each query and the rank of a target, streaming, never N x V scores at once.
//
// Math      s_nv = q_n.w_v (+ bias_v).  top_k: the K largest of the candidates in the order (score descending, index ascending).
//           target_rank: rank_n = 1 + #{v candidate : s_nv > s_n,t} + #{v candidate, v != t : s_nv = s_n,t}  (pessimistic ties)
// Shapes    queries (N,C) | items (V,C) | bias (V) or empty | excluded: CSR lists of item indices per query, (N+1) and (nnz),
//           not candidates (the target of target_rank always is) | indices, scores (N,K) | targets, ranks, ties (N)
// Backward  -
// Saved and aliasing  -
// Numerics and determinism  scores by gemm on fixed blocks of queries, in full precision whatever the
//           context's is; exact selection; fewer than K candidates: index -1, score -inf.
//           ties_n counts the candidates other than t that equal its score. A NaN score is a NumericalError.
// Launch    CPU: blocks of queries
// Reference -

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// Per-query lists of items that are not candidates; empty views: none.
struct ExcludedItems {
  View<const std::int32_t, 1> row_ptr;  // (N+1)
  View<const std::int32_t, 1> items;    // (nnz)
};

template <class T>
void top_k(CpuContext& ctx,
           View<std::int32_t, 2> indices,   // (N,K)
           View<T, 2> scores,               // (N,K)
           ConstView<T, 2> queries,         // (N,C)
           ConstView<T, 2> items,           // (V,C)
           ConstView<T, 1> bias,            // (V) or empty
           const ExcludedItems& excluded);

template <class T>
void target_rank(CpuContext& ctx,
                 View<std::int32_t, 1> ranks,             // (N), from 1
                 View<std::int32_t, 1> ties,              // (N)
                 View<T, 1> target_score,                 // (N)
                 ConstView<T, 2> queries,                 // (N,C)
                 ConstView<T, 2> items,                   // (V,C)
                 ConstView<T, 1> bias,                    // (V) or empty
                 View<const std::int32_t, 1> targets,     // (N)
                 const ExcludedItems& excluded);

}  // namespace galrec
