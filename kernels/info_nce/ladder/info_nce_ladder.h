#pragma once
// The ladder of InfoNCE, forward: anchors against one positive each and a queue of negatives, log-sum-exp included.
//
// Math      s+_n = a_n.p_n / tau; s_nq = a_n.k_q / tau where queue_ids_q != own_ids_n; lse_n = log(exp s+_n + sum_q exp s_nq)
//           losses_n = lse_n - s+_n
// Shapes    anchor, positive (N,C), queue (Q,C) bf16 | queue_ids (Q), own_ids (N) int32 | losses, lse (N) fp32; Q may be 0
// Numerics  as kernels/info_nce/info_nce.h: scores and sums in fp32

#include "kernels/common/rung.h"
#include "kernels/info_nce/info_nce.h"

namespace galrec::ladder {

struct NceInputs {
  View<const bfloat16, 2> anchor, positive;  // (N,C)
  View<const bfloat16, 2> queue;             // (Q,C)
  View<const std::int32_t, 1> queue_ids;     // (Q)
  View<const std::int32_t, 1> own_ids;       // (N)
  float tau;
};

using InfoNce = void(CudaContext& ctx, View<float, 1> losses,  // (N)
                     View<float, 1> lse,                       // (N)
                     const NceInputs& in);

InfoNce info_nce_stored_logits;  // rung1_stored_logits.cu
InfoNce info_nce_streaming;      // rung2_streaming.cu
InfoNce info_nce_tiles;          // rung3_tiles.cu
/// kernels/info_nce/info_nce.cu through its contract.
inline void info_nce_production(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, const NceInputs& in) {
  ScratchScope scratch(ctx.scratch());
  const std::int64_t n = in.anchor.rows();
  info_nce_forward<bfloat16>(ctx, scratch->vector<float>(1), losses, lse, scratch->vector<float>(n), scratch->vector<float>(n),
                             in.anchor, in.positive, in.queue, in.queue_ids, in.own_ids, static_cast<double>(in.tau));
}

inline constexpr Rung<InfoNce> kInfoNceRungs[] = {
    {"stored logits", "one thread per score, then one per anchor", Units::kOrdinary, info_nce_stored_logits},
    {"streaming", "a warp per anchor meets the queue row by row; no score is stored", Units::kOrdinary, info_nce_streaming},
    {"tiles", "a block of 64 anchors meets 128 rows at once, on the tensor cores", Units::kTensorCores, info_nce_tiles},
    {"production", "the queue is split among blocks, whose sums are merged in order", Units::kTensorCores, info_nce_production},
};

/// CheckError unless the operands fit together.
inline void check_info_nce(const View<float, 1>& losses, const View<float, 1>& lse, const NceInputs& in) {
  const std::int64_t n = in.anchor.rows(), c = in.anchor.cols(), q = in.queue.rows();
  GALREC_CHECK(n > 0 && in.positive.shape == in.anchor.shape && (q == 0 || in.queue.cols() == c) && in.queue_ids.extent(0) == q &&
                   in.own_ids.extent(0) == n && losses.extent(0) == n && lse.extent(0) == n,
               "anchor ({}, {}), positive ({}, {}), queue ({}, {}), ids ({}) and ({}), losses ({}), lse ({})", n, c,
               in.positive.rows(), in.positive.cols(), q, in.queue.cols(), in.queue_ids.extent(0), in.own_ids.extent(0),
               losses.extent(0), lse.extent(0));
}

}  // namespace galrec::ladder
