#pragma once
// Sampling the neighbours of one node: plain functions for host and device, so that both draw the same bits.

#include <cstdint>

#include "kernels/common/host_device.h"
#include "kernels/common/philox.h"

namespace galrec {

inline constexpr std::int32_t kMaxFanout = 64;

/// Position of `value` in ascending neighbours, or -1.
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

/// Where ascending neighbours list `exclude`: repeated edges stand next to each other.
struct ExcludedRun {
  std::int32_t first, length;

  GALREC_HOST_DEVICE ExcludedRun(const std::int32_t* neighbors, std::int32_t degree, std::int32_t exclude)
      : first(exclude >= 0 ? find_sorted(neighbors, degree, exclude) : -1), length(0) {
    if (first >= 0)
      while (first + length < degree && neighbors[first + length] == exclude) ++length;
  }
  /// The n-th neighbour outside of the run.
  GALREC_HOST_DEVICE std::int32_t past(std::int32_t n) const { return length > 0 && n >= first ? n + length : n; }
};

/// The slots' picks of one node: an array of kMaxFanout, or one of many that lie interleaved in a block's shared memory.
struct PickedSlots {
  std::int32_t* first;
  std::int32_t stride;
  GALREC_HOST_DEVICE std::int32_t& operator[](std::int32_t slot) const { return first[slot * stride]; }
};

/// Draws `count` of the candidates 0 .. candidates - 1 into `picked`, ascending: Floyd's algorithm, slot s uses Philox block
/// draw_id * 64 + s.
GALREC_HOST_DEVICE inline void pick_positions(PickedSlots picked, std::int32_t count, std::int32_t candidates, std::int64_t draw_id,
                                              const PhiloxKey& key) {
  if (count >= candidates) {
    for (std::int32_t s = 0; s < count; ++s) picked[s] = s;
    return;
  }
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

/// The sampling of a list of nodes, a node at a time: what every backend loops over.
struct SampleProblem {
  const std::int32_t *row_ptr, *col_idx, *nodes, *exclude;
  const std::int64_t* draw_ids;
  std::int32_t fanout;
  PhiloxKey key;

  /// How many neighbours of the n-th node are returned: min(fanout, neighbours that are not excluded).
  GALREC_HOST_DEVICE std::int32_t count(std::int64_t n) const {
    const std::int32_t first = row_ptr[nodes[n]], degree = row_ptr[nodes[n] + 1] - first;
    const std::int32_t candidates = degree - ExcludedRun(col_idx + first, degree, exclude[n]).length;
    return candidates < fanout ? candidates : fanout;
  }
  /// Picks `size` of its neighbours, drawn by position, so that an edge that is listed twice may come twice: where they stand in
  /// col_idx, ascending.
  GALREC_HOST_DEVICE void pick(std::int64_t n, std::int32_t size, PickedSlots picked) const {
    const std::int32_t first = row_ptr[nodes[n]], degree = row_ptr[nodes[n] + 1] - first;
    const ExcludedRun run(col_idx + first, degree, exclude[n]);
    pick_positions(picked, size, degree - run.length, draw_ids[n], key);
    for (std::int32_t s = 0; s < size; ++s) picked[s] = first + run.past(picked[s]);
  }
};

}  // namespace galrec
