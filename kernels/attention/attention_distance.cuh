#pragma once
// From ds to a block's share of dtable. Sums over diagonals (distances key - query) have one owner at a time, so the
// order of additions is that of the tiles.

#include "kernels/attention/attention_device.h"

namespace galrec::attention_cuda {

/// share[r] = sum over the distances of bucket r of line[distance + reach]; distances outside [lowest, highest] hold
/// nothing and are not read. The line ends at `reach` on both sides, at most where the biases do. A warp per bucket;
/// the caller has put a barrier behind the last write of `line`.
__device__ __forceinline__ void write_bucket_shares(float* share, const float* line, int reach, const Bias& bias,
                                                    int lowest, int highest) {
  const int first = min(max(lowest, -reach), reach), last = min(max(highest, -reach), reach),
            warps = block_threads() / kWarpSize;
  for (int bucket = warp_id(); bucket < bias.buckets; bucket += warps) {
    float sum = 0;
    for (int d = first + lane_id(); d <= last; d += kWarpSize) {
      sum += bias.index[d + bias.reach] == bucket ? line[d + reach] : 0.0f;
    }
    sum = warp_sum(sum);
    if (lane_id() == 0) share[bucket] = sum;
  }
}

/// One warp's sums of ds by distance, from fragments of 16 x 8 kTiles scores. The two halves of a fragment (rows g and
/// g + 8) meet on the same diagonals one column tile apart: they are added in registers, spread out in shared memory,
/// and each lane walks down diagonals. Line and patch belong to the warp.
template <int kTiles>
class DistanceSums {
 public:
  static constexpr int kColumns = 8 * (kTiles + 1);
  // Zeros lie on both sides of a row, so that diagonals need not ask where they leave it; rows are 8 banks apart: pairs
  // of all 32 lanes meet no conflict.
  static constexpr int kFront = 8, kWalks = (kColumns + 7 + kWarpSize - 1) / kWarpSize;
  static constexpr int kRow = kFront + kWalks * kWarpSize;
  static constexpr int kPatch = 8 * kRow;  // floats
  static GALREC_HOST_DEVICE int line_floats(int reach) { return 2 * reach + 1; }

  __device__ DistanceSums(float* patch, float* line, int reach) : patch_(patch), line_(line), reach_(reach) {
    for (int i = lane_id(); i < line_floats(reach); i += kWarpSize) line_[i] = 0;
    for (int i = lane_id(); reach >= 0 && i < kPatch; i += kWarpSize) patch_[i] = 0;
  }
  /// Adds a fragment. `corner` is the distance of its first element; distances rise with the column and fall with the
  /// row, or the other way round for `direction` -1.
  __device__ __forceinline__ void add(const float (&ds)[kTiles][4], int corner, int direction) {
    const int lane = lane_id(), g = lane / 4, t = lane % 4;
    const int a = corner - direction * 15, b = corner + direction * (8 * kTiles - 1), lowest = min(a, b),
              highest = max(a, b);
    if (lowest >= reach_ || highest <= -reach_) {
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) sum += (ds[n][0] + ds[n][1]) + (ds[n][2] + ds[n][3]);
      (lowest >= reach_ ? above_ : below_) += sum;
      return;
    }
    __syncwarp();
#pragma unroll
    for (int n = -1; n < kTiles; ++n) {
      float2 pair = make_float2(0.0f, 0.0f);
      if (n >= 0) pair = make_float2(ds[n < 0 ? 0 : n][0], ds[n < 0 ? 0 : n][1]);
      if (n + 1 < kTiles) {
        pair.x += ds[n + 1 < kTiles ? n + 1 : 0][2];
        pair.y += ds[n + 1 < kTiles ? n + 1 : 0][3];
      }
      store_whole(reinterpret_cast<float2*>(patch_ + g * kRow + kFront + 8 * (n + 1) + 2 * t), pair);
    }
    __syncwarp();
#pragma unroll
    for (int first = -7; first < kColumns; first += kWarpSize) {
      const int u = first + lane;  // column - row in the patch
      if (u >= kColumns) continue;
      float sum = 0;
#pragma unroll
      for (int r = 0; r < 8; ++r) sum += patch_[r * kRow + kFront + u + r];
      const int distance = corner + direction * (u - 8);
      if (distance >= reach_) {
        above_ += sum;
      } else if (distance <= -reach_) {
        below_ += sum;
      } else {
        line_[distance + reach_] += sum;
      }
    }
  }
  /// Adds what lies beyond the reach to the ends of the line. All lanes; then the line is complete.
  __device__ __forceinline__ void finish() {
    const float below = warp_sum(below_), above = warp_sum(above_);
    __syncwarp();
    if (lane_id() == 0) {
      line_[0] += below;
      line_[2 * reach_] += above;
    }
  }

 private:
  float *patch_, *line_;
  int reach_;
  float below_ = 0, above_ = 0;
};

}  // namespace galrec::attention_cuda
