#pragma once
// What the passes of InfoNCE share on the device: operands, their checks, scores in the unit of the loss, and how the queue is
// split among blocks.

#include <algorithm>
#include <cmath>

#include "kernels/common/launch.h"
#include "kernels/common/score_tile.h"
#include "kernels/info_nce/info_nce.h"

namespace galrec {

inline constexpr float kLog2E = 1.4426950408889634f;

template <class T>
struct NceOperands {
  View<const T, 2> anchor, positive, queue;
  const std::int32_t *queue_ids, *own_ids;
  float inverse_tau;

  __host__ __device__ std::int64_t anchors() const { return anchor.rows(); }
  __host__ __device__ std::int64_t queue_rows() const { return queue ? queue.rows() : 0; }
  __host__ __device__ std::int64_t cols() const { return anchor.cols(); }
};

template <class T>
NceOperands<T> checked_operands(View<const T, 2> anchor, View<const T, 2> positive, View<const T, 2> queue,
                                View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids, double tau) {
  const std::int64_t n = anchor.rows(), c = anchor.cols(), q = queue ? queue.rows() : 0;
  GALREC_CHECK(n > 0, "no anchors");
  GALREC_CHECK(tau > 0 && std::isfinite(tau), "the temperature {} is not positive", tau);
  GALREC_CHECK(positive.rows() == n && positive.cols() == c, "positive is ({}, {}), expected ({}, {})", positive.rows(),
               positive.cols(), n, c);
  GALREC_CHECK(q == 0 || queue.cols() == c, "the queue has {} columns, expected {}", queue.cols(), c);
  GALREC_CHECK(queue_ids.extent(0) == q && own_ids.extent(0) == n, "{} queue ids for {} rows, {} own ids for {} anchors",
               queue_ids.extent(0), q, own_ids.extent(0), n);
  return {anchor, positive, queue, queue_ids.data, own_ids.data, static_cast<float>(1 / tau)};
}

/// Queue rows that one block goes through in backward, a multiple of `step`: a function of the queue's length alone.
struct QueueSplits {
  std::int64_t rows, count;
  QueueSplits(std::int64_t queue_rows, std::int64_t least, std::int64_t step) {
    constexpr std::int64_t kMost = 32;
    rows = std::max(least, ((queue_rows + kMost - 1) / kMost + step - 1) / step * step);
    count = (queue_rows + rows - 1) / rows;
  }
};

/// What a backward pass over the queue leaves behind, to be added up in split order: sum_q p_q k_q and sum_q p_q of each split.
struct NcePartials {
  View<float, 2> gradient;  // (splits N, pitch), 16-byte rows
  View<float, 2> pull;      // (splits, N)
};

/// Rows of fp32 partials: C rounded up, so that every row is aligned.
inline std::int64_t partial_pitch(std::int64_t cols) {
  return (cols + 7) / 8 * 8;
}

/// The passes of backward. fp32: probabilities go through scratch (info_nce_two_pass.cu); bf16: one pass with the sums in registers
/// (info_nce_columns.cu).
NcePartials queue_gradient(CudaContext& ctx, Arena& scratch, const NceOperands<float>& o, View<const float, 1> lse);
NcePartials queue_gradient(CudaContext& ctx, Arena& scratch, const NceOperands<bfloat16>& o, View<const float, 1> lse);

}  // namespace galrec
