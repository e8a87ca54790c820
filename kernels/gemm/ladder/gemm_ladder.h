#pragma once
// The ladder of matrix products: c = a w^T, the forward pass of every linear layer, in bf16 with fp32 sums.
//
// Shapes    c (M,N) | a (M,K) | w (N,K), rows at multiples of 16 bytes, K a multiple of 8 (the production kernel needs neither)
// Numerics  as kernels/gemm/gemm.h: fp32 sums, c rounded once, bits that depend on the shape only

#include "kernels/common/rung.h"
#include "kernels/gemm/gemm.h"

namespace galrec::ladder {

using Gemm = void(CudaContext& ctx, View<bfloat16, 2> c,  // (M,N)
                  View<const bfloat16, 2> a,              // (M,K)
                  View<const bfloat16, 2> w);             // (N,K)

Gemm gemm_naive;           // rung1_naive.cu
Gemm gemm_shared_tiles;    // rung2_shared_tiles.cu
Gemm gemm_register_tiles;  // rung3_register_tiles.cu
Gemm gemm_tensor_cores;    // rung4_tensor_cores.cu
/// kernels/gemm/gemm_mma.cuh through its contract.
inline void gemm_production(CudaContext& ctx, View<bfloat16, 2> c, View<const bfloat16, 2> a, View<const bfloat16, 2> w) {
  gemm<bfloat16>(ctx, c, a, w, {.b = Transpose::kYes});
}

inline constexpr Rung<Gemm> kGemmRungs[] = {
    {"naive", "one thread per output", Units::kOrdinary, gemm_naive},
    {"shared tiles", "what a block needs is fetched once, into shared memory", Units::kOrdinary, gemm_shared_tiles},
    {"register tiles", "4 x 4 outputs a thread: each value read serves four", Units::kOrdinary, gemm_register_tiles},
    {"tensor cores", "ldmatrix and mma.sync: a warp multiplies 16 x 16 by 16 x 8", Units::kTensorCores, gemm_tensor_cores},
    {"production", "swizzled rows, a ring of asynchronous copies, whole sectors out", Units::kTensorCores, gemm_production},
};

/// CheckError unless the operands meet the ladder's contract.
inline void check_gemm(const View<bfloat16, 2>& c, const View<const bfloat16, 2>& a, const View<const bfloat16, 2>& w) {
  GALREC_CHECK(c.rows() == a.rows() && c.cols() == w.rows() && a.cols() == w.cols(), "c ({}, {}) = a ({}, {}) w ({}, {})^T",
               c.rows(), c.cols(), a.rows(), a.cols(), w.rows(), w.cols());
  GALREC_CHECK(a.cols() % 8 == 0 && a.stride[0] % 8 == 0 && w.stride[0] % 8 == 0,
               "K {}, rows {} and {} apart: not all multiples of 8", a.cols(), a.stride[0], w.stride[0]);
}

}  // namespace galrec::ladder
