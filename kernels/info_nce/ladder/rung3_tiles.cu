// InfoNCE, rung 3: 64 anchors share what is read of the queue. A block makes 64 x 128 scores at a time on the tensor cores, in
// the registers of its threads (kernels/common/score_tile.h), and takes them into the running sums of its anchors. It still walks
// the whole queue alone: there are as many blocks as sixty-fours of anchors.

#include "kernels/common/launch.h"
#include "kernels/common/score_tile.h"
#include "kernels/info_nce/ladder/info_nce_ladder.h"
#include "kernels/info_nce/ladder/running_lse.h"

namespace galrec::ladder {

namespace {

constexpr int kRows = 64;
using Tile = ScoreTile<bfloat16, kRows>;

struct Shared {
  Tile::Panels panels;
  RunningLse part[Tile::kRowWarps][kRows];
};

template <RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads) tiles_kernel(View<float, 1> losses, View<float, 1> lse, NceInputs in) {
  auto& s = block_shared<Shared>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kRows;
  const float inverse_tau = 1.0f / in.tau;
  RunningLse running[Tile::kThreadRows];
  for (std::int64_t key = 0; key < in.queue.rows(); key += kTileColumns) {
    Tile tile;
    tile.template compute<kAccess>(s.panels, RowsFrom<bfloat16>(in.anchor, first), RowsFrom<bfloat16>(in.queue, key),
                                   static_cast<int>(in.anchor.cols()));
#pragma unroll
    for (int i = 0; i < Tile::kThreadRows; ++i) {
      const std::int64_t n = first + Tile::row(i);
      if (n >= in.anchor.rows()) continue;
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const std::int64_t q = key + Tile::column(j);
        if (q < in.queue.rows() && in.queue_ids[q] != in.own_ids[n]) running[i].add(tile.at(i, j) * inverse_tau);
      }
    }
  }
  // The threads that share an anchor: four lanes of four warps.
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
#pragma unroll
    for (int offset = 1; offset < Tile::kRowLanes; offset *= 2)
      running[i].add(RunningLse{shuffle_xor(running[i].top, offset), shuffle_xor(running[i].sum, offset)});
    if (lane_id() % Tile::kRowLanes == 0) s.part[Tile::row_warp()][Tile::row(i)] = running[i];
  }
  __syncthreads();
  for (int row = warp_id(); row < kRows && first + row < in.anchor.rows(); row += kTileThreads / kWarpSize) {
    const bfloat16 *a = in.anchor.row(first + row), *p = in.positive.row(first + row);
    float dot = 0;
    for (std::int64_t c = lane_id(); c < in.anchor.cols(); c += kWarpSize) dot += to_float(a[c]) * to_float(p[c]);
    const float positive = warp_sum(dot) * inverse_tau;
    if (lane_id() != 0) continue;
    RunningLse all;
    all.add(positive);
    for (int w = 0; w < Tile::kRowWarps; ++w) all.add(s.part[w][row]);
    lse[first + row] = all.value();
    losses[first + row] = all.value() - positive;
  }
}

}  // namespace

void info_nce_tiles(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, const NceInputs& in) {
  check_info_nce(losses, lse, in);
  const bool vector = row_access(in.anchor, in.queue) == RowAccess::kVector;
  launch(vector ? tiles_kernel<RowAccess::kVector> : tiles_kernel<RowAccess::kScalar>, (in.anchor.rows() + kRows - 1) / kRows,
         dim3(kTileThreads), sizeof(Shared), ctx.stream(), losses, lse, in);
}

}  // namespace galrec::ladder
