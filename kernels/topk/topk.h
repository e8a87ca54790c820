#pragma once
// Full ranking: the best K items of each query and the rank of a target, streaming, never N x V scores at once.
//
// Math      s_nv = q_n.w_v (+ bias_v).  top_k: the K largest of the candidates in the order (score descending, index ascending).
//           target_rank: rank_n = 1 + #{v candidate : s_nv > s_n,t} + #{v candidate, v != t : s_nv = s_n,t}  (pessimistic ties)
// Shapes    queries (N,C) | items (V,C) | bias (V) or empty | excluded: CSR lists of item indices per query, (N+1) and (nnz),
//           not candidates (the target of target_rank always is) | indices, scores (N,K) | targets, ranks, ties (N)
// Backward  -
// Saved and aliasing  -
// Numerics and determinism  scores in full precision whatever the context's is, those of bf16 rows in fp32; exact selection;
//           fewer than K candidates: index -1, score -inf. ties_n counts the candidates other than t that equal its score.
//           Equal rows of items have equal scores. A NaN score is a NumericalError (CUDA: at the next check_status()).
// Launch    CPU: scores by gemm, blocks of queries.  CUDA: K <= 512; blocks of 64 or 128 queries x fixed splits of the items, in
//           tiles of 128 items (common/score_tile.h: bf16 mma, fp32 FFMA; 75 to 108 KB of shared memory). top_k: scores above the
//           row's k-th best go to the row's list in scratch (at most 64 MiB in all), lists are merged in split order. target_rank:
//           the targets' scores first, then counts. FLOPs 2 N V C. Excluded lists in any order, read once for every 512 items
// Reference -

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// The largest K of top_k on CUDA.
inline constexpr int kMostTopKOnCuda = 512;

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
void top_k(CudaContext& ctx,
           View<std::int32_t, 2> indices,   // (N,K)
           View<Acc<T>, 2> scores,          // (N,K)
           ConstView<T, 2> queries,         // (N,C)
           ConstView<T, 2> items,           // (V,C)
           ConstView<Acc<T>, 1> bias,       // (V) or empty
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
template <class T>
void target_rank(CudaContext& ctx,
                 View<std::int32_t, 1> ranks,             // (N), from 1
                 View<std::int32_t, 1> ties,              // (N)
                 View<Acc<T>, 1> target_score,            // (N)
                 ConstView<T, 2> queries,                 // (N,C)
                 ConstView<T, 2> items,                   // (V,C)
                 ConstView<Acc<T>, 1> bias,               // (V) or empty
                 View<const std::int32_t, 1> targets,     // (N)
                 const ExcludedItems& excluded);

}  // namespace galrec
