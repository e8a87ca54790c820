#pragma once
// One output tile on the tensor cores: bf16 operands through a ring of shared tiles, fp32 sums in registers, and the sums as
// neighbours of a row for whatever is done with them (a store here; probabilities in kernels/linear_cross_entropy).

#include "kernels/gemm/gemm_mma_copy.cuh"

namespace galrec::gemm_cuda {

/// kM x kN outputs by kWarpsM x kWarpsN warps, kK of the depth a step, kStages steps in shared memory.
template <int kM_, int kN_, int kK_, int kStages_, int kWarpsM_, int kWarpsN_, int kBlocks_>
struct MmaShape {
  static constexpr int kM = kM_, kN = kN_, kK = kK_, kStages = kStages_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_;
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarpSize, kBlocks = kBlocks_;  // kBlocks share an SM
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN, kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;

  struct Ring {
    bfloat16 a[kStages][kM * kK];
    bfloat16 b[kStages][kN * kK];
  };
};
using MmaLarge = MmaShape<128, 128, 32, 4, 2, 4, 2>;
using MmaSmall = MmaShape<64, 64, 64, 3, 2, 2, 3>;
using MmaElements = MmaShape<64, 64, 64, 3, 2, 2, 2>;  // more registers a thread, for rows that are not aligned

template <class S>
struct MmaSums {
  float at[S::kTilesM][S::kTilesN][4] = {};

  __device__ static int warp_m() { return warp_id() / S::kWarpsN * S::kWarpM; }
  __device__ static int warp_n() { return warp_id() % S::kWarpsN * S::kWarpN; }
};

/// 16 x 16 of the left operand from row m, depth k on.
template <class S, Major kMajor>
__device__ __forceinline__ void load_left(std::uint32_t (&a)[4], const bfloat16* tile, int m, int k) {
  const int lane = lane_id();
  if constexpr (kMajor == Major::kDepth) {
    ldmatrix_x4(a, tile + swizzled<S::kK>(m + lane % 16, k / 8 + lane / 16));
  } else {
    ldmatrix_x4<MatrixOrder::kTransposed>(a, tile + swizzled<S::kM>(k + lane / 16 * 8 + lane % 8, m / 8 + lane / 8 % 2));
  }
}
/// 16 x 16 of the right operand: two columns of fragments.
template <class S, Major kMajor>
__device__ __forceinline__ void load_right(std::uint32_t (&b)[4], const bfloat16* tile, int n, int k) {
  const int lane = lane_id();
  if constexpr (kMajor == Major::kDepth) {
    ldmatrix_x4(b, tile + swizzled<S::kK>(n + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
  } else {
    ldmatrix_x4<MatrixOrder::kTransposed>(b, tile + swizzled<S::kN>(k + lane % 16, n / 8 + lane / 16));
  }
}

template <class S, Major kA, Major kB>
__device__ __forceinline__ void mma_step(MmaSums<S>& sums, const bfloat16* a_tile, const bfloat16* b_tile) {
#pragma unroll
  for (int k = 0; k < S::kK; k += 16) {
    std::uint32_t a[S::kTilesM][4], b[S::kTilesN / 2][4];
#pragma unroll
    for (int i = 0; i < S::kTilesM; ++i) load_left<S, kA>(a[i], a_tile, sums.warp_m() + 16 * i, k);
#pragma unroll
    for (int j = 0; j < S::kTilesN / 2; ++j) load_right<S, kB>(b[j], b_tile, sums.warp_n() + 16 * j, k);
#pragma unroll
    for (int i = 0; i < S::kTilesM; ++i)
#pragma unroll
      for (int j = 0; j < S::kTilesN; ++j) {
        const std::uint32_t right[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma_m16n8k16_bf16(sums.at[i][j], a[i], right);
      }
  }
}

/// sums += the product of the next `depth` of both operands. Afterwards no copies are on their way, but the ring may be in use
/// until the next barrier.
template <class S, class CopyA, class CopyB>
__device__ __forceinline__ void multiply_tile(MmaSums<S>& sums, typename S::Ring& ring, CopyA& a, CopyB& b, std::int64_t depth) {
  const int steps = static_cast<int>((depth + S::kK - 1) / S::kK);
#pragma unroll
  for (int s = 0; s < S::kStages - 1; ++s) {
    if (s < steps) {
      a.fetch(ring.a[s]);
      b.fetch(ring.b[s]);
      a.store(ring.a[s]);
      b.store(ring.b[s]);
    }
    cp_async_commit();
  }
  int stage = 0, free = S::kStages - 1;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<S::kStages - 2>();
    __syncthreads();
    const bool more = step + S::kStages - 1 < steps;
    if (more) {  // into the stage that was read before the barrier
      a.fetch(ring.a[free]);
      b.fetch(ring.b[free]);
    }
    cp_async_commit();
    mma_step<S, CopyA::kTileMajor, CopyB::kTileMajor>(sums, ring.a[stage], ring.b[stage]);
    if (more) {
      a.store(ring.a[free]);
      b.store(ring.b[free]);
    }
    stage = stage + 1 == S::kStages ? 0 : stage + 1;
    free = free + 1 == S::kStages ? 0 : free + 1;
  }
  cp_async_wait<0>();
}

/// x[0..1] of fragment `first` and y[0..1] of its right neighbour: afterwards an even lane has four neighbours of the first (at
/// column 4 (t / 2)), an odd lane those of the second.
__device__ __forceinline__ void pair_up(float (&out)[4], float x0, float x1, float y0, float y1) {
  const bool odd = (lane_id() & 1) != 0;
  const float low = shuffle_xor(odd ? x0 : y0, 1), high = shuffle_xor(odd ? x1 : y1, 1);
  out[0] = odd ? low : x0;
  out[1] = odd ? high : x1;
  out[2] = odd ? y0 : low;
  out[3] = odd ? y1 : high;
}

/// f(row, column, value[kWidth]) for all sums of the tile, in the tile's coordinates. kWidth 4 or 8: what is 16 bytes of the output.
/// The lanes of a row together touch whole sectors.
template <int kWidth, class S, class F>
__device__ __forceinline__ void for_neighbours(const MmaSums<S>& sums, const F& f) {
  static_assert(kWidth == 4 || kWidth == 8);
  static_assert(S::kTilesN % (kWidth / 2) == 0);
  const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
  for (int i = 0; i < S::kTilesM; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int j = 0; j < S::kTilesN; j += kWidth / 2) {
        const int row = sums.warp_m() + 16 * i + 8 * half + g, e = 2 * half;
        float value[kWidth], low[4];
        pair_up(low, sums.at[i][j][e], sums.at[i][j][e + 1], sums.at[i][j + 1][e], sums.at[i][j + 1][e + 1]);
        if constexpr (kWidth == 4) {
#pragma unroll
          for (int c = 0; c < 4; ++c) value[c] = low[c];
          f(row, sums.warp_n() + 8 * (j + t % 2) + t / 2 * 4, value);
        } else {
          float high[4];
          pair_up(high, sums.at[i][j + 2][e], sums.at[i][j + 2][e + 1], sums.at[i][j + 3][e], sums.at[i][j + 3][e + 1]);
          const bool upper = (t & 2) != 0;
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const float got = shuffle_xor(upper ? low[c] : high[c], 2);
            value[c] = upper ? got : low[c];
            value[c + 4] = upper ? high[c] : got;
          }
          f(row, sums.warp_n() + 8 * (j + t), value);
        }
      }
}

template <class S, Major kA, Major kB, Fetch kFetch, class In, class Out>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) mma_kernel(Product<In> product, Output<Out> c, std::int64_t slice_depth) {
  auto& ring = block_shared<typename S::Ring>();
  const Tile tile = tile_of_block<S::kM, S::kN>(product.m, product.n, product.k, slice_depth);
  CopyFor<In, S::kM, S::kK, S::kThreads, kA, kFetch> a(product.a, tile.m, product.m, tile.k0, tile.k1);
  CopyFor<In, S::kN, S::kK, S::kThreads, kB, kFetch> b(product.b, tile.n, product.n, tile.k0, tile.k1);
  MmaSums<S> sums;
  multiply_tile<S>(sums, ring, a, b, tile.k1 - tile.k0);
  constexpr int kWidth = 16 / static_cast<int>(sizeof(Out));
  for_neighbours<kWidth>(sums, [&](int row, int column, float (&value)[kWidth]) {
    write_output<kWidth>(c, tile.slice, tile.m + row, tile.n + column, product.m, product.n, value);
  });
}

}  // namespace galrec::gemm_cuda
