#pragma once
// Prefix sums of integers over a block.

#include "kernels/common/warp.h"

namespace galrec {

struct ScanResult {
  int before;  // the sum of all threads below this one
  int total;
};

/// Exclusive prefix sum over the threads of the block, which must be whole warps; all of them take part. Barriers
/// before and after the use of `scratch`: it may be used again at once.
__device__ __forceinline__ ScanResult block_exclusive_scan(int value, BlockScratch<int>& scratch) {
  int inclusive = value;
#pragma unroll
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const int below = __shfl_up_sync(kFullMask, inclusive, distance);
    if (lane_id() >= distance) inclusive += below;
  }
  if (lane_id() == kWarpSize - 1) scratch.warp[warp_id()] = inclusive;
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < block_threads() / kWarpSize; ++w) {
    if (w < warp_id()) before += scratch.warp[w];
    total += scratch.warp[w];
  }
  __syncthreads();
  return {before + inclusive - value, total};
}

}  // namespace galrec
