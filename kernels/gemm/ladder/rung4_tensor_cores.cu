// gemm, rung 4: the products on the tensor cores. Four warps make 64 x 64 outputs, 32 x 32 each; operands stay bf16 in shared
// memory, ldmatrix deals them out to the lanes as mma.sync wants them (layouts: kernels/common/mma.h).

#include "kernels/common/launch.h"
#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "kernels/gemm/ladder/gemm_ladder.h"

namespace galrec::ladder {

namespace {

constexpr int kTile = 64, kDepth = 32, kThreads = 128, kWarpTile = 32;

struct Tiles {
  alignas(16) bfloat16 a[kTile][kDepth];  // rows of 64 bytes: every second one starts at the same bank, and ldmatrix waits for it
  alignas(16) bfloat16 w[kTile][kDepth];
};

// 16 bytes at a time; four threads bring a row.
__device__ __forceinline__ void copy(bfloat16 (&to)[kTile][kDepth], const View<const bfloat16, 2>& from, std::int64_t row0,
                                     std::int64_t k0) {
  constexpr int kChunks = kDepth / 8;
#pragma unroll
  for (int piece = thread_id(); piece < kTile * kChunks; piece += kThreads) {
    const int r = piece / kChunks, k = piece % kChunks * 8;
    const bool inside = row0 + r < from.rows() && k0 + k < from.cols();
    store16(&to[r][k], inside ? load16(&from(row0 + r, k0 + k)) : Pack<bfloat16>{});
  }
}

__global__ void __launch_bounds__(kThreads)
    gemm_tensor_cores_kernel(View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  auto& tile = block_shared<Tiles>();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kTile, column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int lane = lane_id(), y = warp_id() / 2 * kWarpTile, x = warp_id() % 2 * kWarpTile;
  float sum[2][4][4] = {};  // 2 x 4 products of 16 x 8, of which a lane holds 4 elements each
  for (std::int64_t k = 0; k < a.cols(); k += kDepth) {
    copy(tile.a, a, row, k);
    copy(tile.w, w, column, k);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; d += 16) {
      std::uint32_t left[2][4], right[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) ldmatrix_x4(left[i], &tile.a[y + 16 * i + lane % 16][d + lane / 16 * 8]);
#pragma unroll
      for (int j = 0; j < 2; ++j) ldmatrix_x4(right[j], &tile.w[x + 16 * j + lane / 16 * 8 + lane % 8][d + lane / 8 % 2 * 8]);
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) mma_m16n8k16_bf16(sum[i][j], left[i], {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]});
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const std::int64_t at_row = row + y + 16 * i + lane / 4 + e / 2 * 8,
                           at_column = column + x + 8 * j + lane % 4 * 2 + e % 2;
        if (at_row < c.rows() && at_column < c.cols()) c(at_row, at_column) = to_bf16(sum[i][j][e]);
      }
}

}  // namespace

void gemm_tensor_cores(CudaContext& ctx, View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  check_gemm(c, a, w);
  const auto blocks = [](std::int64_t extent) { return static_cast<unsigned>((extent + kTile - 1) / kTile); };
  launch(gemm_tensor_cores_kernel, dim3(blocks(c.cols()), blocks(c.rows())), dim3(kThreads), sizeof(Tiles), ctx.stream(), c, a,
         w);
}

}  // namespace galrec::ladder
