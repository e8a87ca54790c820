// gemm, rung 2: the 1024 threads of a block make 32 x 32 outputs together. A slice of the 32 rows that they need is fetched once,
// along the rows, and read 32 times from shared memory.

#include "kernels/common/launch.h"
#include "kernels/common/warp.h"
#include "kernels/gemm/ladder/gemm_ladder.h"

namespace galrec::ladder {

namespace {

constexpr int kTile = 32;

struct Tiles {
  float a[kTile][kTile + 1];  // a column too many: threads that walk down a column meet 32 different banks
  float w[kTile][kTile + 1];
};

__global__ void __launch_bounds__(kTile* kTile)
    gemm_shared_tiles_kernel(View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  auto& tile = block_shared<Tiles>();
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kTile, column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  float sum = 0;
  for (std::int64_t k = 0; k < a.cols(); k += kTile) {
    tile.a[y][x] = row + y < a.rows() && k + x < a.cols() ? to_float(a(row + y, k + x)) : 0.0f;
    tile.w[y][x] = column + y < w.rows() && k + x < w.cols() ? to_float(w(column + y, k + x)) : 0.0f;
    __syncthreads();  // all has been written
    for (int d = 0; d < kTile; ++d) sum += tile.a[y][d] * tile.w[x][d];
    __syncthreads();  // all has been read
  }
  if (row + y < c.rows() && column + x < c.cols()) c(row + y, column + x) = to_bf16(sum);
}

}  // namespace

void gemm_shared_tiles(CudaContext& ctx, View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  check_gemm(c, a, w);
  const auto blocks = [](std::int64_t extent) { return static_cast<unsigned>((extent + kTile - 1) / kTile); };
  launch(gemm_shared_tiles_kernel, dim3(blocks(c.cols()), blocks(c.rows())), dim3(kTile, kTile), sizeof(Tiles), ctx.stream(), c,
         a, w);
}

}  // namespace galrec::ladder
