// InfoNCE, rung 1: the formula as a framework would run it. All scores go to memory, (N, 1 + Q) of them with the positive in
// front; a second kernel reads them twice.

#include "kernels/common/launch.h"
#include "kernels/common/warp.h"
#include "kernels/info_nce/ladder/info_nce_ladder.h"

namespace galrec::ladder {

namespace {

constexpr int kThreads = 128;

// One thread per score: the lanes of a warp read 32 rows of the queue at once, one element of each.
__global__ void __launch_bounds__(kThreads) scores_kernel(View<float, 2> scores, NceInputs in) {
  const std::int64_t n = blockIdx.y, column = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= scores.cols()) return;
  const bool masked = column > 0 && in.queue_ids[column - 1] == in.own_ids[n];
  const bfloat16* other = column == 0 ? in.positive.row(n) : in.queue.row(column - 1);
  float dot = 0;
  for (std::int64_t c = 0; c < in.anchor.cols(); ++c) dot += to_float(in.anchor(n, c)) * to_float(other[c]);
  scores(n, column) = masked ? -INFINITY : dot / in.tau;
}

__global__ void __launch_bounds__(kThreads) lse_kernel(View<float, 1> losses, View<float, 1> lse, View<const float, 2> scores) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= scores.rows()) return;
  float top = -INFINITY, sum = 0;
  for (std::int64_t i = 0; i < scores.cols(); ++i) top = fmaxf(top, scores(n, i));
  for (std::int64_t i = 0; i < scores.cols(); ++i) sum += expf(scores(n, i) - top);
  lse[n] = top + logf(sum);
  losses[n] = lse[n] - scores(n, 0);
}

}  // namespace

void info_nce_stored_logits(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, const NceInputs& in) {
  check_info_nce(losses, lse, in);
  ScratchScope scratch(ctx.scratch());
  const std::int64_t n = in.anchor.rows();
  const View<float, 2> scores = scratch->matrix<float>(n, 1 + in.queue.rows());
  const auto blocks = static_cast<unsigned>((scores.cols() + kThreads - 1) / kThreads);
  launch(scores_kernel, dim3(blocks, static_cast<unsigned>(n)), dim3(kThreads), 0, ctx.stream(), scores, in);
  launch(lse_kernel, (n + kThreads - 1) / kThreads, dim3(kThreads), 0, ctx.stream(), losses, lse, View<const float, 2>(scores));
}

}  // namespace galrec::ladder
