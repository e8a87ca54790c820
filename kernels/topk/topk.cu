#include "kernels/topk/topk.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/launch.h"
#include "kernels/topk/rank_key.h"
#include "kernels/topk/topk_device.h"

namespace galrec {

namespace {

constexpr std::int64_t kListBytes = std::int64_t{64} << 20;  // of lists in scratch at once; queries are ranked in parts

template <class T, int kRows>
struct SelectShared {
  using Tile = ScoreTile<T, kRows>;
  static constexpr int kPitch = kTileColumns + 8;
  union {
    typename Tile::Panels panels;
    float scores[kRows][kPitch];  // of survivors, while no products are being made
  };
  ExcludedBits<kRows> excluded;
  alignas(16) unsigned survivors[kRows][kTileWords];
  float bar[kRows];  // a score must exceed the k-th best of its row; NaN, which it exceeds as well, while there are fewer
};

// Scores of the tile that beat their row's bar go to shared memory, marked in `survivors`.
template <class T, int kRows>
__device__ __forceinline__ void keep_survivors(SelectShared<T, kRows>& s, ScoreTile<T, kRows>& tile, const RankingOperands<T>& o,
                                               std::int64_t first_query, int first_item) {
  using Tile = ScoreTile<T, kRows>;
  const int queries = static_cast<int>(min(o.queries.rows() - first_query, std::int64_t{kRows}));
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
  int nan_row = -1;
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const int row = Tile::row(i);
    const float bar = row < queries ? s.bar[row] : INFINITY;
    unsigned better = 0;  // or not a number
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; ++j) better |= (tile.at(i, j) <= bar ? 0u : 1u) << static_cast<unsigned>(j);
    better &= valid;
    if (better == 0 || row >= queries) continue;
#pragma unroll
    for (int first = 0; first < Tile::kThreadColumns; first += Tile::kWordColumns) {
      unsigned bits = 0;
#pragma unroll
      for (int j = first; j < first + Tile::kWordColumns; ++j) {
        if ((better >> static_cast<unsigned>(j) & 1u) == 0) continue;
        const float score = tile.at(i, j);
        if (score != score) {
          nan_row = row;
          continue;
        }
        s.scores[row][Tile::column(j)] = score;
        bits |= 1u << static_cast<unsigned>(Tile::column(j) % 32);
      }
      if (bits != 0) atomicOr(&s.survivors[row][Tile::column(first) / 32], bits);
    }
  }
  if (nan_row >= 0) report_nan(o.status, first_query + nan_row);
}

// A warp takes the survivors of one row into its list.
template <int kParts, class T, int kRows>
__device__ __forceinline__ void select_row(SelectShared<T, kRows>& s, int row, int tile_of_group, int first_item,
                                           RankKey* list_memory) {
  const auto words = *reinterpret_cast<const uint4*>(s.survivors[row]);
  __syncwarp();
  if ((words.x | words.y | words.z | words.w) == 0) return;
  if (lane_id() < kTileWords) s.survivors[row][lane_id()] = 0;
  const unsigned* excluded = &s.excluded.words[row][tile_of_group * kTileWords];
  RankList<kParts> list;
  list.load(list_memory);
  RankKey bar = list.last();
#pragma unroll 1
  for (int w = 0; w < kTileWords; ++w) {
    const unsigned word = (w == 0 ? words.x : w == 1 ? words.y : w == 2 ? words.z : words.w) & ~excluded[w];
    if (word == 0) continue;
    const int column = w * 32 + lane_id();
    RankKey key = kNoCandidate;
    if ((word >> static_cast<unsigned>(lane_id()) & 1u) != 0) {
      key = rank_key(s.scores[row][column], first_item + column);
    }
    unsigned better = __ballot_sync(kFullMask, key > bar);
    if (better == 0) continue;
    constexpr int kFew = 5;  // insertions that cost less than a sort
    if (__popc(better) <= kFew) {
      for (; better != 0; better &= better - 1) list.insert(__shfl_sync(kFullMask, key, __ffs(static_cast<int>(better)) - 1));
    } else {
      list.merge_sorted(sort_keys(key));
    }
    bar = list.last();
  }
  list.store(list_memory);
  if (lane_id() == 0) s.bar[row] = bar == kNoCandidate ? __uint_as_float(0x7fffffffu) : score_of(bar);
}

// One block: kRows queries against the tiles of one split. lists ((N, splits, 32 kParts)) gets the split's best, descending.
template <class T, int kRows, int kParts, RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads, std::is_same_v<T, bfloat16>&& kParts < 16 ? 2 : 1)
    select_kernel(RankingOperands<T> o, RankKey* lists, int k) {
  constexpr int kLength = kParts * kWarpSize, kWarps = kTileThreads / kWarpSize;
  auto& s = block_shared<SelectShared<T, kRows>>();
  const std::int64_t first_query = static_cast<std::int64_t>(blockIdx.x) * kRows, queries = o.queries.rows();
  const auto list_of = [&](int row) {
    return lists + ((first_query + row) * static_cast<std::int64_t>(gridDim.y) + blockIdx.y) * kLength;
  };
  for (int row = thread_id(); row < kRows; row += kTileThreads) {
    s.bar[row] = __uint_as_float(0x7fffffffu);
    for (int w = 0; w < kTileWords; ++w) s.survivors[row][w] = 0;
  }
  for (int row = warp_id(); row < kRows && first_query + row < queries; row += kWarps) {
    RankList<kParts> none;
    none.clear(k);
    none.store(list_of(row));
  }
  ScoreTile<T, kRows> tile;
  const int first_tile = static_cast<int>(blockIdx.y) * o.tiles_per_split;
  const int last_tile = min(first_tile + o.tiles_per_split, o.tiles());
  for (int t = first_tile; t < last_tile; ++t) {
    const int first_item = t * kTileColumns;
    const int tile_of_group = (t - first_tile) % kGroupTiles;
    if (tile_of_group == 0) s.excluded.mark(o.excluded, first_query, queries, first_item, o.items.rows(), o.status);
    tile.template compute<kAccess>(s.panels, RowsFrom<T>(o.queries, first_query), RowsFrom<T>(o.items, first_item),
                                   static_cast<int>(o.queries.cols()));
    keep_survivors(s, tile, o, first_query, first_item);
    __syncthreads();
    for (int row = warp_id(); row < kRows && first_query + row < queries; row += kWarps) {
      select_row<kParts>(s, row, tile_of_group, first_item, list_of(row));
    }
    __syncthreads();
  }
}

// A warp merges the lists of one query in the order of the splits.
template <int kParts>
__global__ void __launch_bounds__(kTileThreads)
    merge_kernel(View<std::int32_t, 2> indices, View<float, 2> scores, const RankKey* lists, std::int64_t splits) {
  constexpr int kLength = kParts * kWarpSize;
  const std::int64_t query = static_cast<std::int64_t>(blockIdx.x) * (kTileThreads / kWarpSize) + warp_id();
  if (query >= indices.rows()) return;
  const RankKey* mine = lists + query * splits * kLength;
  const int k = static_cast<int>(indices.cols());
  RankList<kParts> best;
  best.clear(k);
  for (std::int64_t split = 0; split < splits; ++split) best.merge_list(mine + split * kLength, k);
#pragma unroll
  for (int e = 0; e < kParts; ++e) {
    const int j = e * kWarpSize + lane_id() - (kLength - k);
    if (j < 0) continue;
    const bool found = best.at[e] != kNoCandidate;
    indices(query, j) = found ? item_of(best.at[e]) : -1;
    scores(query, j) = found ? score_of(best.at[e]) : -INFINITY;
  }
}

template <int kParts, class T>
void select_and_merge(CudaContext& ctx, View<std::int32_t, 2> indices, View<float, 2> scores, const RankingOperands<T>& all) {
  const std::int64_t n = all.queries.rows();
  const ItemSplits splits(n, all.items.rows());
  const std::int64_t list_bytes =
      std::max<std::int64_t>(1, splits.count) * kParts * kWarpSize * static_cast<std::int64_t>(sizeof(RankKey));
  const std::int64_t part = std::min(n, std::max<std::int64_t>(1, kListBytes / list_bytes / 128) * 128);
  ScratchScope scratch(ctx.scratch());
  RankKey* lists = scratch->alloc<RankKey>(part * splits.count * kParts * kWarpSize);
  for (std::int64_t first = 0; first < n; first += part) {
    RankingOperands<T> o = all;
    const std::int64_t count = std::min(part, n - first);
    o.queries = o.queries.slice_rows(first, count);
    if (o.excluded.row_ptr) o.excluded.row_ptr = o.excluded.row_ptr.slice(first, count + 1);
    o.tiles_per_split = splits.tiles_per_split;
    const auto run = [&]<int kRows>(std::integral_constant<int, kRows>) {
      const bool vector = row_access(o.queries, o.items) == RowAccess::kVector;
      launch(vector ? select_kernel<T, kRows, kParts, RowAccess::kVector> : select_kernel<T, kRows, kParts, RowAccess::kScalar>,
             dim3(static_cast<unsigned>((count + kRows - 1) / kRows), static_cast<unsigned>(splits.count)), kTileThreads,
             sizeof(SelectShared<T, kRows>), ctx.stream(), o, lists, static_cast<int>(indices.cols()));
    };
    if (splits.count > 0) {
      if (tile_rows(n) == 64)
        run(std::integral_constant<int, 64>{});
      else
        run(std::integral_constant<int, 128>{});
    }
    constexpr int kWarps = kTileThreads / kWarpSize;
    launch(merge_kernel<kParts>, (count + kWarps - 1) / kWarps, kTileThreads, 0, ctx.stream(), indices.slice_rows(first, count),
           scores.slice_rows(first, count), static_cast<const RankKey*>(lists), splits.count);
  }
}

}  // namespace

template <class T>
void top_k(CudaContext& ctx, View<std::int32_t, 2> indices, View<Acc<T>, 2> scores, ConstView<T, 2> queries, ConstView<T, 2> items,
           ConstView<Acc<T>, 1> bias, const ExcludedItems& excluded) {
  const std::int64_t n = queries.rows(), k = indices.cols();
  GALREC_CHECK(indices.rows() == n && scores.rows() == n && scores.cols() == k, "indices ({}, {}), scores ({}, {}) for {} queries",
               indices.rows(), k, scores.rows(), scores.cols(), n);
  check_ranking<T>(queries, items, bias, excluded);
  GALREC_CHECK(k <= kMostTopKOnCuda, "the best {} of each query, at most {} are possible on this device", k, kMostTopKOnCuda);
  if (k == 0 || n == 0) return;
  const RankingOperands<T> o{queries, items, bias, excluded, ctx.status(), 0};
  if (k <= 32)
    select_and_merge<1>(ctx, indices, scores, o);
  else if (k <= 128)
    select_and_merge<4>(ctx, indices, scores, o);
  else
    select_and_merge<16>(ctx, indices, scores, o);
}

#define GALREC_INSTANTIATE(T)                                                                                    \
  template void top_k<T>(CudaContext&, View<std::int32_t, 2>, View<Acc<T>, 2>, ConstView<T, 2>, ConstView<T, 2>, \
                         ConstView<Acc<T>, 1>, const ExcludedItems&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
