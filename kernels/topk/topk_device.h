#pragma once
// What top_k and target_rank share on the device: their operands, and which items a block's queries may not rank.

#include "kernels/common/device_status.h"
#include "kernels/common/score_tile.h"
#include "kernels/topk/topk.h"

namespace galrec {

template <class T>
struct RankingOperands {
  View<const T, 2> queries, items;
  View<const float, 1> bias;
  ExcludedItems excluded;
  DeviceStatus* status;
  int tiles_per_split;  // tiles of kTileColumns items that a block goes through

  __device__ int tiles() const { return static_cast<int>((items.rows() + kTileColumns - 1) / kTileColumns); }
};

/// Checks shapes and views; what lies in device memory is checked by the kernels.
template <class T>
void check_ranking(View<const T, 2> queries, View<const T, 2> items, View<const float, 1> bias, const ExcludedItems& excluded) {
  GALREC_CHECK(queries.cols() == items.cols(), "queries have {} columns, items {}", queries.cols(), items.cols());
  GALREC_CHECK(items.rows() <= 0x7fffffff - kTileColumns, "{} items", items.rows());
  GALREC_CHECK(!bias || bias.extent(0) == items.rows(), "bias ({}) for {} items", bias.extent(0), items.rows());
  GALREC_CHECK(!excluded.row_ptr || excluded.row_ptr.extent(0) == queries.rows() + 1, "{} offsets of excluded items for {} queries",
               excluded.row_ptr.extent(0), queries.rows());
}

/// How many tiles of items a block goes through, and how many blocks share the items. Few queries spread over more blocks; the
/// results are exact and do not depend on it.
struct ItemSplits {
  static constexpr std::int64_t kMostTiles = 4096;
  int tiles_per_split;
  std::int64_t count;

  ItemSplits(std::int64_t queries, std::int64_t items) {
    const std::int64_t tiles = (items + kTileColumns - 1) / kTileColumns;
    const std::int64_t least = queries <= 64 ? 2 : 16, most = queries <= 64 ? 256 : 32;
    tiles_per_split = static_cast<int>(std::clamp((tiles + most - 1) / most, least, kMostTiles));
    count = (tiles + tiles_per_split - 1) / tiles_per_split;
  }
};

inline constexpr int kGroupTiles = 4;  // tiles whose excluded items are looked up at once
inline constexpr int kTileWords = kTileColumns / 32;

/// One bit for each item of a group of tiles and each of a block's queries.
template <int kRows>
struct ExcludedBits {
  unsigned words[kRows][kGroupTiles * kTileWords];

  /// Reads the lists of queries [first_query, first_query + kRows) for the group that begins with item `first_item`. All threads
  /// of the block, with a barrier before the use of the bits; one barrier inside.
  __device__ __forceinline__ void mark(const ExcludedItems& lists, std::int64_t first_query, std::int64_t queries,
                                       std::int64_t first_item, std::int64_t items, DeviceStatus* status) {
    constexpr int kWords = kGroupTiles * kTileWords;
    for (int i = thread_id(); i < kRows * kWords; i += kTileThreads) words[i / kWords][i % kWords] = 0;
    __syncthreads();
    if (!lists.row_ptr) return;
    for (int r = warp_id(); r < kRows; r += kTileThreads / kWarpSize) {
      const std::int64_t query = first_query + r;
      if (query >= queries) break;
      const std::int32_t begin = lists.row_ptr[query], end = lists.row_ptr[query + 1];
      if (begin < 0 || begin > end || end > lists.items.extent(0)) {
        const bool falls = begin > end;
        if (lane_id() == 0) {
          report_fault(status, DeviceFault::kOffsetsOutOfOrder, DeviceOperation::kTopK, begin < 0 || falls ? begin : end,
                       falls ? end : lists.items.extent(0) + 1);
        }
        continue;
      }
      for (std::int64_t e = begin + lane_id(); e < end; e += kWarpSize) {
        const std::int32_t item = lists.items[e];
        if (item < 0 || item >= items) {
          report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kTopK, item, items);
          continue;
        }
        const std::int64_t local = item - first_item;
        if (local >= 0 && local < kGroupTiles * kTileColumns) {
          atomicOr(&words[r][local / 32], 1u << static_cast<unsigned>(local % 32));
        }
      }
    }
  }
};

/// Reports the first of this thread's rows that has a score that is not a number; such scores are no candidates.
__device__ __forceinline__ void report_nan(DeviceStatus* status, std::int64_t query) {
  report_fault(status, DeviceFault::kNotANumber, DeviceOperation::kTopK, query, 0);
}

}  // namespace galrec
