#pragma once
// From sums of ds along diagonals to a block's share of dtable. Every diagonal (distance) has one owner at a time, so
// the order of additions is that of the tiles.

#include "kernels/attention/attention_device.h"

namespace galrec::attention_cuda {

/// share[r] = sum over the distances of bucket r of line[distance + reach], ends clamped; distances outside [lowest,
/// highest] hold nothing and are not read. A warp per bucket; the caller has put a barrier behind the last write of
/// `line`.
__device__ __forceinline__ void write_bucket_shares(float* share, const float* line, const Bias& bias, int lowest,
                                                    int highest) {
  const int first = max(lowest, -bias.reach) + bias.reach, last = min(highest, bias.reach) + bias.reach;
  const int warps = block_threads() / kWarpSize;
  for (int bucket = warp_id(); bucket < bias.buckets; bucket += warps) {
    float sum = 0;
    for (int i = first + lane_id(); i <= last; i += kWarpSize) sum += bias.index[i] == bucket ? line[i] : 0.0f;
    sum = warp_sum(sum);
    if (lane_id() == 0) share[bucket] = sum;
  }
}

}  // namespace galrec::attention_cuda
