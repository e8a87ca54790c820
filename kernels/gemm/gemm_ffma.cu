// Products in exact fp32 on the ordinary units.

#include "kernels/gemm/gemm_ffma.cuh"

namespace galrec::gemm_cuda {

namespace {

template <class S, class In, class Out>
void run(CudaContext& ctx, View<Out, 2> c, const Product<In>& p, const GemmOptions& options, std::int64_t tiles) {
  multiply_in_slices(ctx, c, options, choose_slices(tiles, p.k), [&]<class To>(const Output<To>& to, const Slices& slices) {
    launch(ffma_kernel<S, In, To>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(slices.count)), dim3(S::kThreads),
           sizeof(typename S::Shared), ctx.stream(), p, to, slices.depth);
  });
}

}  // namespace

template <class In, class Out>
void multiply_ffma(CudaContext& ctx, View<Out, 2> c, const Product<In>& p, const GemmOptions& options) {
  constexpr std::int64_t kFew = 96;  // large tiles would leave most of a GPU idle
  const std::int64_t large = pieces(p.m, FfmaLarge::kM) * pieces(p.n, FfmaLarge::kN);
  if (large >= kFew) {
    run<FfmaLarge>(ctx, c, p, options, large);
  } else {
    run<FfmaSmall>(ctx, c, p, options, pieces(p.m, FfmaSmall::kM) * pieces(p.n, FfmaSmall::kN));
  }
}

template void multiply_ffma<float, float>(CudaContext&, View<float, 2>, const Product<float>&, const GemmOptions&);

}  // namespace galrec::gemm_cuda
