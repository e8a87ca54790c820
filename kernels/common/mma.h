#pragma once
// The warp's matrix instructions (sm_80 and up), asynchronous copies and approximate functions. PTX on a device, the executor's
// calls otherwise. All matrix operations are collective: the 32 lanes of a warp must call them together.
//
// Fragment layouts. Lane l; g = l / 4 ("group"), t = l % 4. A register of two bf16 holds the lower index in its lower half.
//
//   mma_m16n8k16_bf16: D (16 x 8) += A (16 x 16, row) B (16 x 8)
//     a[0] = A[g    ][2t, 2t+1]     a[1] = A[g + 8][2t, 2t+1]     b[0] = B[2t, 2t+1    ][g]
//     a[2] = A[g    ][2t+8, 2t+9]   a[3] = A[g + 8][2t+8, 2t+9]   b[1] = B[2t+8, 2t+9  ][g]
//     d[0] = D[g][2t]   d[1] = D[g][2t+1]   d[2] = D[g + 8][2t]   d[3] = D[g + 8][2t+1]
//   mma_m16n8k8_tf32: D (16 x 8) += A (16 x 8, row) B (8 x 8), one fp32 pattern per register (make them with to_tf32)
//     a[0] = A[g][t]   a[1] = A[g + 8][t]   a[2] = A[g][t + 4]   a[3] = A[g + 8][t + 4]
//     b[0] = B[t][g]   b[1] = B[t + 4][g]   d as above
//
//   ldmatrix_x4/x2/x1 read 8 x 8 matrices of 16-bit elements, a row (16 bytes, aligned) at the address that a lane gives:
//   lanes 8i .. 8i+7 give the rows of matrix i (x1 uses lanes 0-7, x2 lanes 0-15; the others' addresses are ignored).
//     kRow:        r[i] = { M_i[g][2t], M_i[g][2t+1] }
//     kTransposed: r[i] = { M_i[2t][g], M_i[2t+1][g] }
//   Hence, from row-major shared memory:
//     A of mma (16 x 16 tile of [m][k]):  ldmatrix_x4<kRow>(a, &tile[l % 16][l / 16 * 8])
//     B of mma from [n][k] (16 x n-tile 8): ldmatrix_x2<kRow>(b, &tile[l % 8][l / 8 % 2 * 8])
//     B of mma from [k][n]:               ldmatrix_x2<kTransposed>(b, &tile[l % 16][0])
//   and two n-tiles at once (b[0..1] the first, b[2..3] the second):
//     from [n][k]: ldmatrix_x4<kRow>(b, &tile[l / 16 * 8 + l % 8][l / 8 % 2 * 8])
//     from [k][n]: ldmatrix_x4<kTransposed>(b, &tile[l % 16][l / 16 * 8])
//   D of one product is A of the next (k16): a = { pack(d0[0], d0[1]), pack(d0[2], d0[3]), pack(d1[0], d1[1]), pack(d1[2], d1[3]) }
//   for the n-tiles d0 (k 0-7) and d1 (k 8-15).

#include <cmath>
#include <cstdint>

#include "kernels/common/device.h"

#if !defined(__CUDACC__)
#include "kernels/simt/warp_matrix.h"
#endif

namespace galrec {

enum class MatrixOrder { kRow, kTransposed };

#if defined(__CUDACC__)

namespace detail {
__device__ __forceinline__ unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }
}  // namespace detail

/// D += A B in bf16 with fp32 accumulation. Layouts above.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// D += A B in TF32 (10 bits of mantissa) with fp32 accumulation. Layouts above.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Rounds to TF32, nearest, ties away from zero; the bits as mma wants them.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

template <MatrixOrder Order = MatrixOrder::kRow>
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  const unsigned address = detail::shared_address(row);
  if constexpr (Order == MatrixOrder::kRow) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}
template <MatrixOrder Order = MatrixOrder::kRow>
__device__ __forceinline__ void ldmatrix_x2(std::uint32_t (&r)[2], const void* row) {
  const unsigned address = detail::shared_address(row);
  if constexpr (Order == MatrixOrder::kRow) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
  }
}
template <MatrixOrder Order = MatrixOrder::kRow>
__device__ __forceinline__ void ldmatrix_x1(std::uint32_t (&r)[1], const void* row) {
  const unsigned address = detail::shared_address(row);
  if constexpr (Order == MatrixOrder::kRow) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  }
}

/// Starts to copy the first `valid_bytes` (0 to 16) of 16 bytes to shared memory and zeros to the rest. Both addresses aligned
/// to 16; `global` is not read for 0 bytes. The bytes are there after the group was waited for, for other threads after a
/// barrier as well.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, int valid_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(shared)), "l"(global), "r"(valid_bytes)
               : "memory");
}
/// Closes the thread's open group of copies (an empty one too).
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `GroupsLeft` of the thread's newest groups are on their way.
template <int GroupsLeft>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(GroupsLeft) : "memory");
}

/// 2^x; relative error at most 2^-22; results below 2^-126 are 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// log2(x); absolute error at most 2^-22 for x in [0.5, 2], relative 2^-22 elsewhere; denormals count as 0.
__device__ __forceinline__ float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// 1 / sqrt(x); relative error at most 2^-22.9.
__device__ __forceinline__ float rsqrt_approx(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// 1 / x; error at most 1 ulp.
__device__ __forceinline__ float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// tanh(x); relative error at most 2^-11: good enough for bf16 results, not for fp32.
__device__ __forceinline__ float tanh_approx(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#else  // the executor: same semantics, exact arithmetic, late copies

inline void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Place where = Place::here()) {
  simt::mma_m16n8k16_bf16(d, a, b, where);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Place where = Place::here()) {
  simt::mma_m16n8k8_tf32(d, a, b, where);
}
inline std::uint32_t to_tf32(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return x != x ? 0x7fffffffu : (bits + 0x1000u) & 0xffffe000u;
}

namespace detail {
inline constexpr simt::MatrixLoad kLoad[] = {simt::MatrixLoad::kRow, simt::MatrixLoad::kTransposed};
}  // namespace detail
template <MatrixOrder Order = MatrixOrder::kRow>
void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, Place where = Place::here()) {
  simt::ldmatrix(r, 4, detail::kLoad[static_cast<int>(Order)], row, where);
}
template <MatrixOrder Order = MatrixOrder::kRow>
void ldmatrix_x2(std::uint32_t (&r)[2], const void* row, Place where = Place::here()) {
  simt::ldmatrix(r, 2, detail::kLoad[static_cast<int>(Order)], row, where);
}
template <MatrixOrder Order = MatrixOrder::kRow>
void ldmatrix_x1(std::uint32_t (&r)[1], const void* row, Place where = Place::here()) {
  simt::ldmatrix(r, 1, detail::kLoad[static_cast<int>(Order)], row, where);
}

inline void cp_async16(void* shared, const void* global, int valid_bytes = 16, Place where = Place::here()) {
  simt::cp_async(shared, global, 16, valid_bytes, where);
}
inline void cp_async_commit() { simt::cp_async_commit(); }
template <int GroupsLeft>
void cp_async_wait() {
  simt::cp_async_wait(GroupsLeft);
}

// Correctly rounded, with the flushing of the device's instructions.
inline float exp2_approx(float x) {
  return simt::flushed(static_cast<float>(std::exp2(static_cast<double>(simt::flushed(x)))));
}
inline float log2_approx(float x) { return static_cast<float>(std::log2(static_cast<double>(simt::flushed(x)))); }
inline float rsqrt_approx(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(simt::flushed(x)))); }
inline float rcp_approx(float x) { return simt::flushed(1.0f / simt::flushed(x)); }
inline float tanh_approx(float x) { return static_cast<float>(std::tanh(static_cast<double>(x))); }

#endif

}  // namespace galrec
