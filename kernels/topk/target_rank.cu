// target_rank on the device: the targets' own scores, then one pass over the items that counts what is not below them.

#include <algorithm>

#include "kernels/common/launch.h"
#include "kernels/topk/topk.h"
#include "kernels/topk/topk_device.h"

namespace galrec {

namespace {

// The score of each query's target, by the same sums as in the tiles that it is compared with: a tile against the picked items,
// of which the diagonal counts.
template <class T, RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads, std::is_same_v<T, bfloat16> ? 2 : 1)
    own_score_kernel(View<std::int32_t, 1> ranks, View<std::int32_t, 1> ties, View<float, 1> target_score, RankingOperands<T> o,
                     View<const std::int32_t, 1> targets) {
  using Tile = ScoreTile<T, kTileColumns>;
  auto& panels = block_shared<typename Tile::Panels>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kTileColumns;
  Tile tile;
  tile.template compute<kAccess>(panels, RowsFrom<T>(o.queries, first), RowsPicked<T>(o.items, targets, first),
                                 static_cast<int>(o.queries.cols()));
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; ++j) {
      const std::int64_t query = first + Tile::row(i);
      if (Tile::row(i) != Tile::column(j) || query >= o.queries.rows()) continue;
      const std::int32_t target = targets[query];
      const bool valid = target >= 0 && target < o.items.rows();
      if (!valid) report_fault(o.status, DeviceFault::kIdOutOfRange, DeviceOperation::kTopK, target, o.items.rows());
      target_score[query] = tile.at(i, j) + (o.bias && valid ? o.bias[target] : 0.0f);
      ranks[query] = 1;
      ties[query] = 0;
    }
  }
}

template <class T, int kRows>
struct CountShared {
  typename ScoreTile<T, kRows>::Panels panels;
  ExcludedBits<kRows> excluded;
};

template <class T, int kRows, RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads, std::is_same_v<T, bfloat16> ? 2 : 1)
    count_kernel(View<std::int32_t, 1> ranks, View<std::int32_t, 1> ties, View<const float, 1> target_score, RankingOperands<T> o,
                 View<const std::int32_t, 1> targets) {
  using Tile = ScoreTile<T, kRows>;
  auto& s = block_shared<CountShared<T, kRows>>();
  const std::int64_t first_query = static_cast<std::int64_t>(blockIdx.x) * kRows, queries = o.queries.rows();
  Tile tile;
  std::int32_t above[Tile::kThreadRows] = {}, equal[Tile::kThreadRows] = {};
  const std::int64_t first_tile = blockIdx.y * o.tiles_per_split;
  const std::int64_t last_tile = min(first_tile + o.tiles_per_split, o.tiles());
  for (std::int64_t t = first_tile; t < last_tile; ++t) {
    const std::int64_t first_item = t * kTileColumns;
    const int tile_of_group = static_cast<int>((t - first_tile) % kGroupTiles);
    // The products' last barrier has let every thread finish its look at the bits of the group before only if they were read
    // before it: hence a barrier of their own.
    if (tile_of_group == 0) {
      __syncthreads();
      s.excluded.mark(o.excluded, first_query, queries, first_item, o.items.rows(), o.status);
    }
    tile.template compute<kAccess>(s.panels, RowsFrom<T>(o.queries, first_query), RowsFrom<T>(o.items, first_item),
                                   static_cast<int>(o.queries.cols()));
#pragma unroll
    for (int i = 0; i < Tile::kThreadRows; ++i) {
      const int row = Tile::row(i);
      const std::int64_t query = first_query + row;
      if (query >= queries) continue;
      const float own = target_score[query];
      const std::int64_t target = targets[query];
      bool nan = false;
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const int column = Tile::column(j);
        const std::int64_t item = first_item + column;
        if (item >= o.items.rows()) continue;
        const float score = tile.at(i, j) + (o.bias ? o.bias[item] : 0.0f);
        nan |= score != score;
        if (!(score >= own) || item == target) continue;
        const unsigned word = s.excluded.words[row][tile_of_group * kTileWords + column / 32];
        if ((word >> static_cast<unsigned>(column % 32) & 1u) != 0) continue;
        above[i] += score > own;
        equal[i] += score == own;
      }
      if (nan) report_nan(o.status, query);
    }
  }
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const std::int32_t more = warp_sum<Tile::kRowLanes>(above[i]), same = warp_sum<Tile::kRowLanes>(equal[i]);
    const std::int64_t query = first_query + Tile::row(i);
    if (lane_id() % Tile::kRowLanes != 0 || query >= queries || more + same == 0) continue;
    atomicAdd(&ranks[query], more + same);  // of integers: the order does not show
    atomicAdd(&ties[query], same);
  }
}

}  // namespace

template <class T>
void target_rank(CudaContext& ctx, View<std::int32_t, 1> ranks, View<std::int32_t, 1> ties, View<Acc<T>, 1> target_score,
                 ConstView<T, 2> queries, ConstView<T, 2> items, ConstView<Acc<T>, 1> bias, View<const std::int32_t, 1> targets,
                 const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows();
  GALREC_CHECK(ranks.extent(0) == n && ties.extent(0) == n && target_score.extent(0) == n && targets.extent(0) == n,
               "ranks ({}), ties ({}), target_score ({}), targets ({}) for {} queries", ranks.extent(0), ties.extent(0),
               target_score.extent(0), targets.extent(0), n);
  check_ranking<T>(queries, items, bias, excluded);
  if (n == 0) return;
  const ItemSplits splits(n, items.rows());
  const RankingOperands<T> o{queries, items, bias, excluded, ctx.status(), splits.tiles_per_split};
  const bool vector = row_access(o.queries, o.items) == RowAccess::kVector;
  launch(vector ? own_score_kernel<T, RowAccess::kVector> : own_score_kernel<T, RowAccess::kScalar>,
         (n + kTileColumns - 1) / kTileColumns, kTileThreads, sizeof(typename ScoreTile<T, kTileColumns>::Panels), ctx.stream(),
         ranks, ties, target_score, o, targets);
  if (splits.count == 0) return;
  const auto run = [&]<int kRows>(std::integral_constant<int, kRows>) {
    launch(vector ? count_kernel<T, kRows, RowAccess::kVector> : count_kernel<T, kRows, RowAccess::kScalar>,
           dim3(static_cast<unsigned>((n + kRows - 1) / kRows), static_cast<unsigned>(splits.count)), kTileThreads,
           sizeof(CountShared<T, kRows>), ctx.stream(), ranks, ties, View<const float, 1>(target_score), o, targets);
  };
  if (tile_rows(n) == 64)
    run(std::integral_constant<int, 64>{});
  else
    run(std::integral_constant<int, 128>{});
}

#define GALREC_INSTANTIATE(T)                                                                                                \
  template void target_rank<T>(CudaContext&, View<std::int32_t, 1>, View<std::int32_t, 1>, View<Acc<T>, 1>, ConstView<T, 2>, \
                               ConstView<T, 2>, ConstView<Acc<T>, 1>, View<const std::int32_t, 1>, const ExcludedItems&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
