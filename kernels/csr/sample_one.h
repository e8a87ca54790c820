#pragma once
// Sampling the neighbours of one node: plain functions for host and device, so that both draw the same bits.

#include <cstdint>

#include "kernels/common/host_device.h"
#include "kernels/common/philox.h"

namespace galrec {

inline constexpr std::int32_t kMaxFanout = 64;

/// How many neighbours sample_one() returns: min(fanout, neighbours that are not `exclude`).
GALREC_HOST_DEVICE inline std::int32_t sample_count(const std::int32_t* neighbors, std::int32_t degree,
                                                    std::int32_t exclude, std::int32_t fanout) {
  std::int32_t candidates = 0;
  // Past fanout + 1 candidates the answer is known; high degrees cost no more than low ones.
  for (std::int32_t i = 0; i < degree && candidates <= fanout; ++i) candidates += neighbors[i] != exclude;
  return candidates < fanout ? candidates : fanout;
}

/// Position of `exclude` in ascending neighbours, or -1.
GALREC_HOST_DEVICE inline std::int32_t find_sorted(const std::int32_t* neighbors, std::int32_t degree,
                                                   std::int32_t value) {
  std::int32_t low = 0, high = degree;
  while (low < high) {
    const std::int32_t middle = low + (high - low) / 2;
    if (neighbors[middle] < value)
      low = middle + 1;
    else
      high = middle;
  }
  return low < degree && neighbors[low] == value ? low : -1;
}

/// The slots' picks of one node: an array of kMaxFanout, or one of many that lie interleaved in a block's shared memory.
struct PickedSlots {
  std::int32_t* first;
  std::int32_t stride;
  GALREC_HOST_DEVICE std::int32_t& operator[](std::int32_t slot) const { return first[slot * stride]; }
};

/// Writes `count` neighbours (ascending, drawn by position, so an edge that is listed twice may come twice) to out.
/// Floyd's algorithm over the positions that do not hold `exclude`; slot s uses Philox block draw_id * 64 + s. `picked` has room for
/// `count` slots: positions among the candidates, ascending.
GALREC_HOST_DEVICE inline void sample_one(std::int32_t* out, std::int32_t count, const std::int32_t* neighbors, std::int32_t degree,
                                          std::int32_t exclude, std::int64_t draw_id, const PhiloxKey& key, PickedSlots picked) {
  // Duplicates of the excluded neighbour are consecutive.
  std::int32_t hole = exclude >= 0 ? find_sorted(neighbors, degree, exclude) : -1, holes = 0;
  if (hole >= 0)
    while (hole + holes < degree && neighbors[hole + holes] == exclude) ++holes;
  const std::int32_t candidates = degree - holes;
  if (count >= candidates) {
    for (std::int32_t s = 0; s < count; ++s) picked[s] = s;
  } else {
    for (std::int32_t s = 0; s < count; ++s) {
      const std::int32_t last = candidates - count + s;
      const auto bits = philox(key, static_cast<std::uint64_t>(draw_id) * kMaxFanout + static_cast<std::uint64_t>(s));
      // Multiply-shift of 32 bits: the bias is below candidates / 2^32.
      std::int32_t chosen =
          static_cast<std::int32_t>((static_cast<std::uint64_t>(bits[0]) * static_cast<std::uint64_t>(last + 1)) >> 32);
      std::int32_t at = 0;
      while (at < s && picked[at] < chosen) ++at;
      if (at < s && picked[at] == chosen) {
        chosen = last;  // larger than everything picked so far
        at = s;
      }
      for (std::int32_t i = s; i > at; --i) picked[i] = picked[i - 1];
      picked[at] = chosen;
    }
  }
  for (std::int32_t s = 0; s < count; ++s) out[s] = neighbors[picked[s] + (hole >= 0 && picked[s] >= hole ? holes : 0)];
}

/// The sampling of a list of nodes, a node at a time: what every backend loops over.
struct SampleProblem {
  const std::int32_t *row_ptr, *col_idx, *nodes, *exclude;
  const std::int64_t* draw_ids;
  std::int32_t fanout;
  PhiloxKey key;

  /// How many neighbours of the n-th node are returned.
  GALREC_HOST_DEVICE std::int32_t count(std::int64_t n) const {
    const std::int32_t first = row_ptr[nodes[n]], degree = row_ptr[nodes[n] + 1] - first;
    return sample_count(col_idx + first, degree, exclude[n], fanout);
  }
  /// Writes its `size` neighbours to out.
  GALREC_HOST_DEVICE void draw(std::int64_t n, std::int32_t* out, std::int32_t size, PickedSlots picked) const {
    const std::int32_t first = row_ptr[nodes[n]], degree = row_ptr[nodes[n] + 1] - first;
    sample_one(out, size, col_idx + first, degree, exclude[n], draw_ids[n], key, picked);
  }
};

}  // namespace galrec
