// Products of fp32 matrices on the tensor cores in TF32: the tiles of gemm_ffma.cuh, the sums of gemm_mma.cuh.

#include "kernels/gemm/gemm_ffma.cuh"
#include "kernels/gemm/gemm_mma.cuh"

namespace galrec::gemm_cuda {

namespace {

using Tf32Large = MmaShape<128, 128, 16, 2, 2, 4, 1>;
using Tf32Small = MmaShape<64, 64, 16, 2, 2, 2, 3>;

template <class S>
__device__ __forceinline__ void tf32_step(MmaSums<S>& sums, const float (&a)[S::kK][S::kM], const float (&b)[S::kK][S::kN]) {
  const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
  for (int k = 0; k < S::kK; k += 8) {
    std::uint32_t left[S::kTilesM][4], right[S::kTilesN][2];
#pragma unroll
    for (int i = 0; i < S::kTilesM; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int depth = k + t + e / 2 * 4;
        left[i][e] = __float_as_uint(a[depth][ffma_slot(depth, sums.warp_m() + 16 * i + g + e % 2 * 8)]);
      }
#pragma unroll
    for (int j = 0; j < S::kTilesN; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int depth = k + t + 4 * e;
        right[j][e] = __float_as_uint(b[depth][ffma_slot(depth, sums.warp_n() + 8 * j + g)]);
      }
#pragma unroll
    for (int i = 0; i < S::kTilesM; ++i)
#pragma unroll
      for (int j = 0; j < S::kTilesN; ++j) mma_m16n8k8_tf32(sums.at[i][j], left[i], right[j]);
  }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) tf32_kernel(Product<float> product, Output<float> c, std::int64_t slice_depth) {
  auto& shared = block_shared<DepthMajor<S::kM, S::kN, S::kK>>();
  const Tile tile = tile_of_block<S::kM, S::kN>(product.m, product.n, product.k, slice_depth);
  Panel<float, S::kM, S::kK, S::kThreads, Rounding::kTf32> a(product.a, tile.m, product.m, tile.k0, tile.k1);
  Panel<float, S::kN, S::kK, S::kThreads, Rounding::kTf32> b(product.b, tile.n, product.n, tile.k0, tile.k1);
  MmaSums<S> sums;
  in_steps(shared, a, b, tile.k1 - tile.k0, [&](const auto& a_step, const auto& b_step) { tf32_step<S>(sums, a_step, b_step); });
  for_neighbours<4>(sums, [&](int row, int column, float (&value)[4]) {
    write_output<4>(c, tile.slice, tile.m + row, tile.n + column, product.m, product.n, value);
  });
}

template <class S>
void run(CudaContext& ctx, View<float, 2> c, const Product<float>& p, const GemmOptions& options) {
  const std::int64_t tiles = pieces(p.m, S::kM) * pieces(p.n, S::kN);
  multiply_in_slices(ctx, c, options, choose_slices(tiles, p.k), [&](const Output<float>& to, const Slices& slices) {
    launch(tf32_kernel<S>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(slices.count)), dim3(S::kThreads),
           sizeof(DepthMajor<S::kM, S::kN, S::kK>), ctx.stream(), p, to, slices.depth);
  });
}

}  // namespace

void multiply_tf32(CudaContext& ctx, View<float, 2> c, const Product<float>& p, const GemmOptions& options) {
  constexpr std::int64_t kFew = 96;  // large tiles would leave most of a GPU idle
  if (pieces(p.m, Tf32Large::kM) * pieces(p.n, Tf32Large::kN) >= kFew) {
    run<Tf32Large>(ctx, c, p, options);
  } else {
    run<Tf32Small>(ctx, c, p, options);
  }
}

}  // namespace galrec::gemm_cuda
