#pragma once
// Pairwise and pointwise ranking losses on rows, and the L2 penalty that goes with them.
//
// Math      s+ = x.p, s- = x.n per row.  BPR: mean softplus(s- - s+).  BCE: mean (softplus(-s+) + softplus(s-)).
//           half_squared_sum: out = 1/2 sum x^2
// Shapes    x, positive, negative and their gradients (N,C) | loss, out (1) | positive_score, negative_score (N); N >= 1 in the losses
// Backward  g = dloss/N.  BPR: c = g sigmoid(s- - s+): dx = c (n - p), dp = -c x, dn = c x.
//           BCE: c+ = -g sigmoid(-s+), c- = g sigmoid(s-): dx = c+ p + c- n, dp = c+ x, dn = c- x.  All (+).
// Saved and aliasing  saved: inputs and both scores. No aliasing.
// Numerics and determinism  softplus without overflow; the mean is summed in fixed chunks in chunk order
// Launch    CPU: rows in parallel
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

template <class T>
void ranking_loss_backward(CpuContext& ctx,
                           View<T, 2> dx, View<T, 2> dpositive, View<T, 2> dnegative,  // (N,C) each
                           double dloss,
                           ConstView<T, 2> x, ConstView<T, 2> positive, ConstView<T, 2> negative,
                           ConstView<T, 1> positive_score, ConstView<T, 1> negative_score,
                           RankingLossKind kind, Accumulate accumulate);

/// out = 1/2 sum of x^2; its gradient is x itself.
template <class T>
void half_squared_sum(CpuContext& ctx, View<T, 1> out, ConstView<T, 2> x);

}  // namespace galrec
