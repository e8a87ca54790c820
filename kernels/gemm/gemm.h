#pragma once
// GEMM: matrix products, and the two column-wise companions of a linear layer.
//
// Math      c = alpha op(a) op(b) (+ c);  add_bias: y += 1 bias^T;  column_sum: out = 1^T x (+ out)
// Shapes    c (M,N) | op(a) (M,K) | op(b) (K,N), each row-major with any row stride | bias, out (N)
// Backward  y = x w^T (w is [out, in]):  dx = dy w | dw = dy^T x | dbias = column_sum(dy)
// Saved and aliasing  nothing saved; c must not overlap a or b
// Numerics and determinism  fp32 products go to oneDNN in output tiles and slabs of K that depend on the shape only, each
//           computed by one thread and added in order, so the bits do not depend on the thread count.
//           GemmPrecision::kBf16 on the context rounds a and b to bf16 and accumulates in fp32 (float only; full
//           precision where the CPU has no bf16 products). double: plain blocked loops, the oracle. No atomics.
//           CUDA: fp32 sums always; c is rounded once, kAdd adds in fp32 first. fp32 matrices: exact products (kFull), rounded to
//           bf16 (kBf16) or TF32 (kTf32; the CPU takes it for kFull). Products with few tiles and much depth are split into
//           slices of K, a function of the shape only, whose partial sums are added in order. Devices that have it use
//           cuBLASLt with one algorithm per shape, asked for once.
// Launch    CPU: tiles over M and N in parallel; gemm_serial is for callers that are already inside a parallel loop.
//           CUDA: a block per output tile and slice of K. bf16: 128 x 128 (256 threads, 64 KB) or 64 x 64 (128 threads, 48 KB of
//           shared memory) by mma.sync from a cp.async ring; fp32: 128 x 128 (256 threads) or 64 x 64 (128) on the ordinary units,
//           two buffers. Rows that are not aligned to 16 bytes are loaded element by element. column_sum: slabs of kColumnSlab
//           rows, then the slabs in order. Extents need not be multiples of anything. No host synchronisation
// Reference BLAS GEMM; oneDNN (dnnl_sgemm)

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

enum class Transpose { kNo, kYes };

struct GemmOptions {
  Transpose a = Transpose::kNo;
  Transpose b = Transpose::kNo;
  Accumulate accumulate = Accumulate::kOverwrite;
  double alpha = 1.0;
};

template <class T>
void gemm(CpuContext& ctx,
          View<T, 2> c,       // (M,N)
          ConstView<T, 2> a,  // (M,K), or (K,M) transposed
          ConstView<T, 2> b,  // (K,N), or (N,K) transposed
          const GemmOptions& options = {});
template <class T>
void gemm(CudaContext& ctx,
          View<T, 2> c,
          ConstView<T, 2> a,
          ConstView<T, 2> b,
          const GemmOptions& options = {});
/// bf16 operands and a result that is not rounded: gradients of weights, logits.
template <class T>
  requires(!std::is_same_v<T, Acc<T>>)
void gemm(CudaContext& ctx,
          View<Acc<T>, 2> c,
          ConstView<T, 2> a,
          ConstView<T, 2> b,
          const GemmOptions& options = {});

/// The same product on the calling thread only, always in full precision; for small matrices inside a parallel loop.
template <class T>
void gemm_serial(View<T, 2> c, ConstView<T, 2> a, ConstView<T, 2> b, const GemmOptions& options = {});

/// Whether GemmPrecision::kBf16 has any effect on this processor (it needs bf16 dot products); else fp32 is used.
bool gemm_has_bf16();

template <class T>
void add_bias(CpuContext& ctx,
              View<T, 2> y,            // (M,N), in place
              ConstView<T, 1> bias);   // (N)
template <class T>
void add_bias(CudaContext& ctx,
              View<T, 2> y,
              ConstView<Acc<T>, 1> bias);

template <class T>
void column_sum(CpuContext& ctx,
                View<T, 1> out,        // (N)
                ConstView<T, 2> x,     // (M,N)
                Accumulate accumulate);
template <class T>
void column_sum(CudaContext& ctx,
                View<Acc<T>, 1> out,
                ConstView<T, 2> x,
                Accumulate accumulate);

}  // namespace galrec
