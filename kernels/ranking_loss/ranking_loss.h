#pragma once
// Pairwise and pointwise ranking losses on rows, and the L2 penalty that goes with them.
//
// Math      s+ = x.p, s- = x.n per row.  BPR: mean softplus(s- - s+).  BCE: mean (softplus(-s+) + softplus(s-)).
//           half_squared_sum: out = 1/2 sum x^2
// Shapes    x, positive, negative and their gradients (N,C) | loss, dloss, out (1) | positive_score, negative_score (N); N >= 1 in the losses
// Backward  g = dloss/N.  BPR: c = g sigmoid(s- - s+): dx = c (n - p), dp = -c x, dn = c x.
//           BCE: c+ = -g sigmoid(-s+), c- = g sigmoid(s-): dx = c+ p + c- n, dp = c+ x, dn = c- x.  All (+).
// Saved and aliasing  saved: inputs and both scores. No aliasing.
// Numerics and determinism  softplus without overflow; the mean is summed in fixed chunks in chunk order
//           CUDA: dot products in fp32, each by one warp in a fixed lane order; losses and squares in double, over fixed chunks of 64 rows
//           whose sums are added in an order that depends on their number only. Scores, losses and dloss are fp32 beside bf16 rows.
// Launch    CPU: rows in parallel
//           CUDA: a warp a row, 16-byte accesses where rows are aligned; 64 rows a block forward (then one block that adds), 8 backward.
//           Every operand is read once, every output written once.
// Reference Rendle et al. 2009 (BPR, as LightGCN); Kang & McAuley 2018 (BCE, as S3-Rec)

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

enum class RankingLossKind { kBpr, kBce };

template <class T>
void ranking_loss_forward(CpuContext& ctx,
                          View<T, 1> loss,              // (1)
                          View<T, 1> positive_score,    // (N)
                          View<T, 1> negative_score,    // (N)
                          ConstView<T, 2> x,            // (N,C)
                          ConstView<T, 2> positive,     // (N,C)
                          ConstView<T, 2> negative,     // (N,C)
                          RankingLossKind kind);
/// T float or bfloat16.
template <class T>
void ranking_loss_forward(CudaContext& ctx, View<Acc<T>, 1> loss, View<Acc<T>, 1> positive_score, View<Acc<T>, 1> negative_score,
                          ConstView<T, 2> x, ConstView<T, 2> positive, ConstView<T, 2> negative, RankingLossKind kind);

template <class T>
void ranking_loss_backward(CpuContext& ctx,
                           View<T, 2> dx, View<T, 2> dpositive, View<T, 2> dnegative,  // (N,C) each
                           ConstView<T, 1> dloss,        // (1), in the context's memory
                           ConstView<T, 2> x, ConstView<T, 2> positive, ConstView<T, 2> negative,
                           ConstView<T, 1> positive_score, ConstView<T, 1> negative_score,
                           RankingLossKind kind, Accumulate accumulate);
template <class T>
void ranking_loss_backward(CudaContext& ctx, View<T, 2> dx, View<T, 2> dpositive, View<T, 2> dnegative, ConstView<Acc<T>, 1> dloss,
                           ConstView<T, 2> x, ConstView<T, 2> positive, ConstView<T, 2> negative, ConstView<Acc<T>, 1> positive_score,
                           ConstView<Acc<T>, 1> negative_score, RankingLossKind kind, Accumulate accumulate);

/// out = 1/2 sum of x^2; its gradient is x itself.
template <class T>
void half_squared_sum(CpuContext& ctx, View<T, 1> out, ConstView<T, 2> x);
template <class T>
void half_squared_sum(CudaContext& ctx, View<Acc<T>, 1> out, ConstView<T, 2> x);

}  // namespace galrec
