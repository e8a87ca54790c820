#pragma once
// InfoNCE of anchors against one positive each and a queue of negatives shared by all.
//
// Math      s+_n = a_n.p_n / tau;  s_nq = a_n.k_q / tau for the valid rows q of the queue with queue_ids_q != own_ids_n
//           losses_n = log(exp s+_n + sum_q exp s_nq) - s+_n;  loss = (1/N) sum_n losses_n
// Shapes    anchor, positive, danchor, dpositive (N,C) of unit rows | queue (Q,C), the first `queue.rows()` rows are all valid
//           queue_ids (Q), own_ids (N) int32 | loss (1) | losses, lse, positive_score, hardest (N)
// Backward  p+ = exp(s+ - lse), p_q = exp(s_q - lse), g = dloss/N:
//           danchor = g/tau ((p+ - 1) p + sum_q p_q k_q) (+) | dpositive = g/tau (p+ - 1) a (+).  The queue is constant.
// Saved and aliasing  saved: inputs, lse. positive_score = s+ and hardest = max_q s_q (-inf if none) feed the statistics.
// Numerics and determinism  fp32 log-sum-exp with exact maxima, tiles of the queue in order; p+ - 1 is taken as -sum_q p_q, which
//           does not cancel; an empty queue, or one with every row masked, gives loss 0. Full precision whatever the context's is
// Launch    CPU: blocks of anchors in parallel; the queue streams through in tiles
//           CUDA: forward (2 N Q C FLOPs) a block for each 64 or 128 anchors x 128 queue rows (common/score_tile.h), whose maxima
//           and sums are merged in queue order. Backward (4 N Q C: scores again, then sum_q p_q k_q) over at most 32 fixed splits
//           of the queue, merged in split order. bf16, C <= 1024: a block for each 32 anchors and split keeps its sums in
//           registers, the columns shared among 8 warps, 51 to 163 KB of shared memory (info_nce_columns.cu), p rounded to bf16
//           for the product; fp32: probabilities of at most 64 MiB of the queue in scratch, then a product (info_nce_two_pass.cu)
// Reference van den Oord et al. 2018; He et al. 2020 (MoCo); GAL-Rec eqs. 14, 15

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

template <class T>
void info_nce_forward(CpuContext& ctx,
                      View<T, 1> loss,                         // (1)
                      View<T, 1> losses,                       // (N)
                      View<T, 1> lse,                          // (N)
                      View<T, 1> positive_score,               // (N)
                      View<T, 1> hardest,                      // (N)
                      ConstView<T, 2> anchor,                  // (N,C)
                      ConstView<T, 2> positive,                // (N,C)
                      ConstView<T, 2> queue,                   // (Q,C)
                      View<const std::int32_t, 1> queue_ids,   // (Q)
                      View<const std::int32_t, 1> own_ids,     // (N)
                      double tau);
template <class T>
void info_nce_forward(CudaContext& ctx,
                      View<Acc<T>, 1> loss,                    // (1)
                      View<Acc<T>, 1> losses,                  // (N)
                      View<Acc<T>, 1> lse,                     // (N)
                      View<Acc<T>, 1> positive_score,          // (N)
                      View<Acc<T>, 1> hardest,                 // (N)
                      ConstView<T, 2> anchor,                  // (N,C)
                      ConstView<T, 2> positive,                // (N,C)
                      ConstView<T, 2> queue,                   // (Q,C)
                      View<const std::int32_t, 1> queue_ids,   // (Q)
                      View<const std::int32_t, 1> own_ids,     // (N)
                      double tau);

template <class T>
void info_nce_backward(CpuContext& ctx,
                       View<T, 2> danchor,                     // (N,C)
                       View<T, 2> dpositive,                   // (N,C) or empty: the positive is constant
                       ConstView<T, 1> dloss,                  // (1)
                       ConstView<T, 2> anchor, ConstView<T, 2> positive, ConstView<T, 2> queue,
                       View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids,
                       ConstView<T, 1> lse, double tau,
                       Accumulate danchor_accumulate, Accumulate dpositive_accumulate);
template <class T>
void info_nce_backward(CudaContext& ctx,
                       View<T, 2> danchor,                     // (N,C)
                       View<T, 2> dpositive,                   // (N,C) or empty: the positive is constant
                       ConstView<Acc<T>, 1> dloss,             // (1)
                       ConstView<T, 2> anchor, ConstView<T, 2> positive, ConstView<T, 2> queue,
                       View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids,
                       ConstView<Acc<T>, 1> lse, double tau,
                       Accumulate danchor_accumulate, Accumulate dpositive_accumulate);

}  // namespace galrec
