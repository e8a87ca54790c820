#pragma once
// From a product to a launch of mma_kernel.

#include "kernels/gemm/gemm_mma.cuh"

namespace galrec::gemm_cuda {

/// Whether 128 x 128 tiles, with the depth in slices, give a large GPU enough blocks.
inline bool fills_large_tiles(std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kEnough = 96;
  const std::int64_t tiles = pieces(m, MmaLarge::kM) * pieces(n, MmaLarge::kN);
  return std::min(m, n) > MmaSmall::kM && tiles * choose_slices(tiles, k).count >= kEnough;
}

template <class S, Major kA, Major kB, Fetch kFetch, class In, class Out>
void run_mma(CudaContext& ctx, View<Out, 2> c, const Product<In>& p, const GemmOptions& options) {
  const std::int64_t tiles = pieces(p.m, S::kM) * pieces(p.n, S::kN);
  multiply_in_slices(ctx, c, options, choose_slices(tiles, p.k), [&]<class To>(const Output<To>& to, const Slices& slices) {
    launch(mma_kernel<S, kA, kB, kFetch, In, To>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(slices.count)), dim3(S::kThreads),
           sizeof(typename S::Ring), ctx.stream(), p, to, slices.depth);
  });
}

template <class S, Fetch kFetch, class In, class Out>
void run_mma_layout(CudaContext& ctx, View<Out, 2> c, const Product<In>& p, const GemmOptions& options) {
  constexpr Major kD = Major::kDepth, kE = Major::kEdge;
  if (p.a.major == kD) {
    p.b.major == kD ? run_mma<S, kD, kD, kFetch>(ctx, c, p, options) : run_mma<S, kD, kE, kFetch>(ctx, c, p, options);
  } else {
    p.b.major == kD ? run_mma<S, kE, kD, kFetch>(ctx, c, p, options) : run_mma<S, kE, kE, kFetch>(ctx, c, p, options);
  }
}

}  // namespace galrec::gemm_cuda
