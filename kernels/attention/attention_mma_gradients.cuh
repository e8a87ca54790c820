#pragma once
// What both bf16 backward kernels do with a fragment of scores.

#include "kernels/attention/attention_mma.cuh"

namespace galrec::attention_cuda {

/// Bits of the keys of a 16-key fragment that queries keep, queries 8 n + 2 t and + 1 at kept[2 n], kept[2 n + 1]: bit
/// g for key g, bit 8 + g for key g + 8. `block` is the mask block of the first query and key, `step` what the next
/// query adds. Each lane computes the blocks of one query (of half of one for 16 queries) and the others ask for them.
template <int kTiles>
__device__ __forceinline__ void keys_kept(std::uint32_t (&kept)[2 * kTiles], const DropoutMask& mask,
                                          std::uint64_t block, std::uint64_t step) {
  static_assert(kTiles == 2 || kTiles == 4);
  const int lane = lane_id(), t = lane % 4;
  std::uint32_t mine;
  if constexpr (kTiles == 4) {
    const std::uint64_t at = block + static_cast<unsigned>(lane) * step;
    mine = kept_elements(mask, at) | kept_elements(mask, at + 1) << 8;
  } else {
    mine = kept_elements(mask, block + static_cast<unsigned>(lane % 16) * step + static_cast<unsigned>(lane / 16));
    const std::uint32_t other = shuffle_xor(mine, 16);
    mine = lane < 16 ? mine | other << 8 : other | mine << 8;
  }
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    kept[2 * n] = __shfl_sync(kFullMask, mine, 8 * n + 2 * t);
    kept[2 * n + 1] = __shfl_sync(kFullMask, mine, 8 * n + 2 * t + 1);
  }
}

/// Zeros what is dropped of a fragment with keys down the rows.
template <int kTiles>
__device__ __forceinline__ void drop_queries(float (&x)[kTiles][4], const std::uint32_t (&kept)[2 * kTiles]) {
  const int g = lane_id() / 4;
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if ((kept[2 * n + e % 2] >> (g + e / 2 * 8) & 1u) == 0) x[n][e] = 0.0f;
}

/// acc (16 x 16) += a^T b for rows [row, row + 16) of both: a fragment of columns [a_column, + 16) of tile `a`, stored
/// with the summation down its rows, times columns [b_column, + 16) of tile `b`.
template <int kACols, int kBCols>
__device__ __forceinline__ void times_transposed(float (&acc)[2][4], const bfloat16* a, int a_column, const bfloat16* b,
                                                 int b_column, int row) {
  const int lane = lane_id();
  Registers4 left, right;
  ldmatrix_x4<MatrixOrder::kTransposed>(
      left, a + swizzled<kACols>(row + lane / 16 * 8 + lane % 8, a_column / 8 + lane / 8 % 2));
  ldmatrix_x4<MatrixOrder::kTransposed>(right, b + swizzled<kBCols>(row + lane % 16, b_column / 8 + lane / 16));
  mma_pair(acc[0], acc[1], left, right);
}

/// Copies the statistics of queries [0, count) of kRows; rows that are not there get p = 0.
template <int kRows>
__device__ __forceinline__ void copy_stats(float* to, const RowStats* from, int count, int thread, int threads) {
  for (int i = thread; i < kRows; i += threads) {
    const RowStats stats = i < count ? load_whole(from + i) : make_float2(INFINITY, 0.0f);
    store_whole(reinterpret_cast<RowStats*>(to + 2 * i), stats);
  }
}

}  // namespace galrec::attention_cuda
