#pragma once
// A candidate as one integer that sorts by (score descending, index ascending), and a warp's sorted list of the largest.

#include <cstdint>

#include "kernels/common/warp.h"

namespace galrec {

using RankKey = unsigned long long;
inline constexpr RankKey kNoCandidate = 0;         // below every key: the upper half is 0 only for a NaN
inline constexpr RankKey kAboveAll = ~RankKey{0};  // no key: fills a list whose end is to be the k-th best

__device__ __forceinline__ RankKey rank_key(float score, std::int32_t item) {
  const std::uint32_t bits = __float_as_uint(score + 0.0f);  // -0 and +0 are one score
  const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<RankKey>(ordered) << 32 | ~static_cast<std::uint32_t>(item);
}
__device__ __forceinline__ float score_of(RankKey key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}
__device__ __forceinline__ std::int32_t item_of(RankKey key) {
  return static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

/// The lanes' 32 keys in descending order.
__device__ __forceinline__ RankKey sort_keys(RankKey key) {
  const int lane = lane_id();
#pragma unroll
  for (int size = 2; size <= kWarpSize; size *= 2) {
#pragma unroll
    for (int distance = size / 2; distance > 0; distance /= 2) {
      const RankKey other = shuffle_xor(key, distance);
      const bool larger_here = ((lane & distance) == 0) == ((lane & size) == 0);
      key = larger_here == (key < other) ? other : key;
    }
  }
  return key;
}

/// The 32 * kParts largest keys seen, descending: element 32 e + lane is at[e]. All lanes of the warp take part in every call.
template <int kParts>
struct RankList {
  static constexpr int kLength = kParts * kWarpSize;
  RankKey at[kParts];

  __device__ __forceinline__ void load(const RankKey* from) {
#pragma unroll
    for (int e = 0; e < kParts; ++e) at[e] = from[e * kWarpSize + lane_id()];
  }
  __device__ __forceinline__ void store(RankKey* to) const {
#pragma unroll
    for (int e = 0; e < kParts; ++e) to[e * kWarpSize + lane_id()] = at[e];
  }

  /// The smallest of them, for all lanes.
  __device__ __forceinline__ RankKey last() const {
    return __shfl_sync(kFullMask, at[kParts - 1], kWarpSize - 1);
  }

  /// Adds one key, the same in all lanes.
  __device__ __forceinline__ void insert(RankKey key) {
#pragma unroll
    for (int e = kParts - 1; e >= 0; --e) {
      const RankKey shifted = __shfl_up_sync(kFullMask, at[e], 1);
      const RankKey below = e > 0 ? __shfl_sync(kFullMask, at[e > 0 ? e - 1 : 0], kWarpSize - 1) : kAboveAll;
      const RankKey before = lane_id() == 0 ? below : shifted;
      at[e] = at[e] > key ? at[e] : (before > key ? key : before);
    }
  }

  /// Adds 32 keys in descending order, one a lane.
  __device__ __forceinline__ void merge_sorted(RankKey key) {
    const RankKey reversed = shuffle_xor(key, kWarpSize - 1);
    at[kParts - 1] = at[kParts - 1] < reversed ? reversed : at[kParts - 1];
    restore_order();
  }

  /// Begins with the places above the k-th taken.
  __device__ __forceinline__ void clear(int k) {
#pragma unroll
    for (int e = 0; e < kParts; ++e) at[e] = e * kWarpSize + lane_id() < kLength - k ? kAboveAll : kNoCandidate;
  }

  /// Adds the k best of another list, which lies in memory.
  __device__ __forceinline__ void merge_list(const RankKey* other, int k) {
#pragma unroll
    for (int e = 0; e < kParts; ++e) {
      const int from_end = kLength - 1 - (e * kWarpSize + lane_id());
      const RankKey key = from_end < k ? other[kLength - k + from_end] : kNoCandidate;
      at[e] = at[e] < key ? key : at[e];
    }
    restore_order();
  }

 private:
  // Sorts what first falls and then rises.
  __device__ __forceinline__ void restore_order() {
#pragma unroll
    for (int part = kParts / 2; part > 0; part /= 2) {
#pragma unroll
      for (int e = 0; e < kParts; ++e) {
        if ((e & part) != 0) continue;
        const RankKey a = at[e], b = at[e + part];
        at[e] = a < b ? b : a;
        at[e + part] = a < b ? a : b;
      }
    }
#pragma unroll
    for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
#pragma unroll
      for (int e = 0; e < kParts; ++e) {
        const RankKey other = shuffle_xor(at[e], distance);
        const bool larger_here = (lane_id() & distance) == 0;
        at[e] = larger_here == (at[e] < other) ? other : at[e];
      }
    }
  }
};

}  // namespace galrec
