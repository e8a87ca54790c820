// gemm, rung 3: a thread makes 4 x 4 outputs. Eight values from shared memory feed sixteen multiply-adds, where rung 2 needed
// thirty-two; four of them come in one 16-byte load, for which the tiles lie transposed.

#include "kernels/common/launch.h"
#include "kernels/common/rows_device.h"
#include "kernels/common/warp.h"
#include "kernels/gemm/ladder/gemm_ladder.h"

namespace galrec::ladder {

namespace {

constexpr int kTile = 64, kDepth = 16, kEach = 4, kSide = kTile / kEach, kThreads = kSide * kSide;

struct Tiles {
  alignas(16) float a[kDepth][kTile + 4];  // [k][row]
  alignas(16) float w[kDepth][kTile + 4];
};

// Four threads bring the 32 bytes of a row, 8 bytes each, and write them down a column.
__device__ __forceinline__ void copy_transposed(float (&to)[kDepth][kTile + 4], const View<const bfloat16, 2>& from,
                                                std::int64_t row0, std::int64_t k0) {
  const int r = thread_id() / 4, k = thread_id() % 4 * 4;
  float value[4] = {};
  if (row0 + r < from.rows() && k0 + k < from.cols()) load_floats<4>(&from(row0 + r, k0 + k), value);
#pragma unroll
  for (int e = 0; e < 4; ++e) to[k + e][r] = value[e];
}

__global__ void __launch_bounds__(kThreads)
    gemm_register_tiles_kernel(View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  auto& tile = block_shared<Tiles>();
  const int x = thread_id() % kSide * kEach, y = thread_id() / kSide * kEach;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kTile, column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  float sum[kEach][kEach] = {};
  for (std::int64_t k = 0; k < a.cols(); k += kDepth) {
    copy_transposed(tile.a, a, row, k);
    copy_transposed(tile.w, w, column, k);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const Pack<float> left = load16(&tile.a[d][y]), right = load16(&tile.w[d][x]);
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sum[i][j] += left[i] * right[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      if (row + y + i < c.rows() && column + x + j < c.cols()) c(row + y + i, column + x + j) = to_bf16(sum[i][j]);
}

}  // namespace

void gemm_register_tiles(CudaContext& ctx, View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  check_gemm(c, a, w);
  const auto blocks = [](std::int64_t extent) { return static_cast<unsigned>((extent + kTile - 1) / kTile); };
  launch(gemm_register_tiles_kernel, dim3(blocks(c.cols()), blocks(c.rows())), dim3(kThreads), sizeof(Tiles), ctx.stream(), c, a,
         w);
}

}  // namespace galrec::ladder
