#pragma once
// Column sums over partial rows in a fixed order, on CUDA: the second half of every reduction over the rows of a matrix.

#include "kernels/common/rows_device.h"
#include "kernels/common/unordered.h"

namespace galrec {

inline constexpr int kSlabSumWays = 16;  // interleaved partial sums per column, added in order

struct SlabSumShared {
  float way[kSlabSumWays][kWarpSize];
};

/// A warp's lanes are 32 columns, its number is a way: slabs way, way + kSlabSumWays, ...
static __global__ void __launch_bounds__(kSlabSumWays* kWarpSize)
    sum_slabs_kernel(View<float, 1> out, View<const float, 2> slabs, Accumulate accumulate) {
  auto& shared = block_shared<SlabSumShared>();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kWarpSize + lane_id();
  float total = 0.0f;
  if (c < out.extent(0)) {
#pragma unroll 4
    for (std::int64_t s = warp_id(); s < slabs.rows(); s += kSlabSumWays) total += slabs(s, c);
  }
  shared.way[warp_id()][lane_id()] = total;
  __syncthreads();
  if (warp_id() != 0 || c >= out.extent(0)) return;
  float sum = accumulate == Accumulate::kAdd ? out[c] : 0.0f;
#pragma unroll
  for (int way = 0; way < kSlabSumWays; ++way) sum += shared.way[way][lane_id()];
  out[c] = sum;
}

/// out (+)= sum over the rows of `slabs`; the order depends on their number alone. No slabs sum to 0.
inline void sum_slabs(CudaContext& ctx, View<float, 1> out, View<const float, 2> slabs, Accumulate accumulate) {
  if (kUnordered || out.extent(0) == 0) return;
  launch(sum_slabs_kernel, (out.extent(0) + kWarpSize - 1) / kWarpSize, dim3(kSlabSumWays * kWarpSize), sizeof(SlabSumShared),
         ctx.stream(), out, slabs, accumulate);
}

/// Scratch for `slabs` partial rows of `cols` floats that start at whole sectors.
inline View<float, 2> slab_matrix(Arena& arena, std::int64_t slabs, std::int64_t cols) {
  return arena.matrix<float>(slabs, (cols + 7) / 8 * 8).slice_cols(0, cols);
}

/// A row per slab for put_partial(), to be joined by sum_slabs(). Unordered, every row is `out`, which has its start value already.
inline View<float, 2> partial_rows(CudaContext& ctx, Arena& arena, View<float, 1> out, std::int64_t slabs, Accumulate accumulate) {
  const std::int64_t cols = out.extent(0);
  if (!kUnordered) return slab_matrix(arena, slabs, cols);
  if (accumulate == Accumulate::kOverwrite && cols > 0) ctx.memory().clear(out.data, static_cast<std::size_t>(cols) * sizeof(float));
  return View<float, 2>(out.data, {slabs, cols}, {0, 1});
}

}  // namespace galrec
