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
  float own[kRows];
  std::int32_t target[kRows];
};

template <class T, int kRows, RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads, std::is_same_v<T, bfloat16> ? 2 : 1)
    count_kernel(View<std::int32_t, 1> ranks, View<std::int32_t, 1> ties, View<const float, 1> target_score, RankingOperands<T> o,
                 View<const std::int32_t, 1> targets) {
  using Tile = ScoreTile<T, kRows>;
  auto& s = block_shared<CountShared<T, kRows>>();
  const std::int64_t first_query = static_cast<std::int64_t>(blockIdx.x) * kRows, queries = o.queries.rows();
  const int rows = static_cast<int>(min(queries - first_query, std::int64_t{kRows}));
  for (int row = thread_id(); row < rows; row += kTileThreads) {
    s.own[row] = target_score[first_query + row];
    s.target[row] = targets[first_query + row];
  }
  Tile tile;
  int nan_row = -1;
  unsigned counts[Tile::kThreadRows] = {};  // scores above the target's, and, from bit 16 on, equal to it
  static_assert(ItemSplits::kMostTiles * Tile::kThreadColumns < 0x10000);
  const int first_tile = static_cast<int>(blockIdx.y) * o.tiles_per_split;
  const int last_tile = min(first_tile + o.tiles_per_split, o.tiles());
  for (int t = first_tile; t < last_tile; ++t) {
    const int first_item = t * kTileColumns;
    const int tile_of_group = (t - first_tile) % kGroupTiles;
    if (tile_of_group == 0) {
      __syncthreads();  // the bits of the group before have been read
      s.excluded.mark(o.excluded, first_query, queries, first_item, o.items.rows(), o.status);
    }
    tile.template compute<kAccess>(s.panels, RowsFrom<T>(o.queries, first_query), RowsFrom<T>(o.items, first_item),
                                   static_cast<int>(o.queries.cols()));
    const int items = static_cast<int>(min(o.items.rows() - first_item, std::int64_t{kTileColumns}));
    if (o.bias) {
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const float bias = Tile::column(j) < items ? o.bias[first_item + Tile::column(j)] : 0.0f;
#pragma unroll
        for (int i = 0; i < Tile::kThreadRows; ++i) tile.at(i, j) += bias;
      }
    }
    const unsigned valid = tile.columns_below(items);
#pragma unroll
    for (int i = 0; i < Tile::kThreadRows; ++i) {
      const int row = Tile::row(i);
      const float own = row < rows ? s.own[row] : INFINITY;
      unsigned reached = 0;  // or not a number
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) reached |= (tile.at(i, j) < own ? 0u : 1u) << static_cast<unsigned>(j);
      reached &= valid;
      if (reached == 0 || row >= rows) continue;
      const int target = s.target[row] - first_item;
#pragma unroll
      for (int first = 0; first < Tile::kThreadColumns; first += Tile::kWordColumns) {
        const unsigned excluded = s.excluded.words[row][tile_of_group * kTileWords + Tile::column(first) / 32];
#pragma unroll
        for (int j = first; j < first + Tile::kWordColumns; ++j) {
          const int column = Tile::column(j);
          const float score = tile.at(i, j);
          if ((reached >> static_cast<unsigned>(j) & 1u) == 0) continue;
          if (score != score) nan_row = row;
          if (column == target || (excluded >> static_cast<unsigned>(column % 32) & 1u) != 0) continue;
          counts[i] += (score > own ? 1u : 0u) + (score == own ? 0x10000u : 0u);
        }
      }
    }
  }
  if (nan_row >= 0) report_nan(o.status, first_query + nan_row);
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const auto above = static_cast<int>(warp_sum<Tile::kRowLanes>(counts[i] & 0xffffu));
    const auto equal = static_cast<int>(warp_sum<Tile::kRowLanes>(counts[i] >> 16));
    const int row = Tile::row(i);
    if (lane_id() % Tile::kRowLanes != 0 || row >= rows || above + equal == 0) continue;
    atomicAdd(&ranks[first_query + row], above + equal);  // of integers: the order does not show
    atomicAdd(&ties[first_query + row], equal);
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
