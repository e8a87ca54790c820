#pragma once
// One output tile on the ordinary fp32 units. Both operands lie depth-major in shared memory, whichever way they lie in
// global memory; the next step of the depth waits in registers while the present one is multiplied.

#include "kernels/gemm/gemm_device.h"

namespace galrec::gemm_cuda {

/// kM x kN outputs; each thread owns kGroupsM groups of 4 rows, 16 apart, and kGroupsN groups of 4 columns, 32 apart: a
/// warp is 4 x 8 threads, so that the rows and columns that it reads at a time are 64 and 128 consecutive bytes.
template <int kM_, int kN_, int kGroupsM_, int kGroupsN_>
struct FfmaShape {
  static constexpr int kM = kM_, kN = kN_, kK = 16, kGroupsM = kGroupsM_, kGroupsN = kGroupsN_;
  static constexpr int kWarpM = 16 * kGroupsM, kWarpN = 32 * kGroupsN;
  static constexpr int kWarpsN = kN / kWarpN, kThreads = kM / kWarpM * kWarpsN * kWarpSize;

  struct Shared {
    float a[2][kK][kM];
    float b[2][kK][kN];
  };
};
using FfmaLarge = FfmaShape<128, 128, 2, 2>;
using FfmaSmall = FfmaShape<64, 64, 2, 1>;

/// Where column `edge` of row `depth` lies: groups of eight are permuted so that neither four threads that write four
/// depths of one edge nor four that read four depths meet in a bank.
__device__ __forceinline__ int ffma_slot(int depth, int edge) { return edge ^ (8 * ((depth ^ (depth >> 2)) & 3)); }

/// One operand's part of a step: kK x kEdge elements in pieces of 4, kPieces a thread.
template <class T, int kEdge, int kK, int kThreads>
class Panel {
 public:
  __device__ Panel(const Operand<T>& operand, std::int64_t edge0, std::int64_t edge, std::int64_t k1)
      : operand_(operand), edge0_(edge0), edge_(edge), k1_(k1) {}

  __device__ __forceinline__ void fetch(std::int64_t k) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int d = depth(i), e = edge(i);
      const bool along_depth = operand_.major == Major::kDepth;
      const std::int64_t row = along_depth ? edge0_ + e : k + d, column = along_depth ? k + d : edge0_ + e;
      const std::int64_t rows = along_depth ? edge_ : k1_, columns = along_depth ? k1_ : edge_;
      const T* p = operand_.data + row * operand_.stride + column;
      if (row < rows && column + 4 <= columns && operand_.access == Access::kVector) {
        load_floats<4>(p, value_[i]);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) value_[i][j] = row < rows && column + j < columns ? to_float(p[j]) : 0.0f;
      }
    }
  }
  __device__ __forceinline__ void store(float (&to)[kK][kEdge]) const {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int d = depth(i), e = edge(i);
      if (operand_.major == Major::kDepth) {
#pragma unroll
        for (int j = 0; j < 4; ++j) to[d + j][ffma_slot(d + j, e)] = value_[i][j];
      } else {
        store_floats<4>(&to[d][ffma_slot(d, e)], value_[i]);
      }
    }
  }

 private:
  static constexpr int kPieces = kEdge * kK / 4 / kThreads;
  static_assert(kPieces * kThreads * 4 == kEdge * kK);

  __device__ __forceinline__ int piece(int i) const { return i * kThreads + thread_id(); }
  __device__ __forceinline__ int depth(int i) const {
    return operand_.major == Major::kDepth ? piece(i) % (kK / 4) * 4 : piece(i) / (kEdge / 4);
  }
  __device__ __forceinline__ int edge(int i) const {
    return operand_.major == Major::kDepth ? piece(i) / (kK / 4) : piece(i) % (kEdge / 4) * 4;
  }

  const Operand<T>& operand_;
  std::int64_t edge0_, edge_, k1_;
  float value_[kPieces][4];
};

/// This thread's place in the tile.
template <class S>
struct FfmaPlace {
  int m, n;
  __device__ FfmaPlace() {
    m = warp_id() / S::kWarpsN * S::kWarpM + lane_id() / 8 * 4;
    n = warp_id() % S::kWarpsN * S::kWarpN + lane_id() % 8 * 4;
  }
};

template <class S>
__device__ __forceinline__ void ffma_step(float (&sum)[4 * S::kGroupsM][4 * S::kGroupsN], const float (&a)[S::kK][S::kM],
                                          const float (&b)[S::kK][S::kN], const FfmaPlace<S>& place) {
#pragma unroll
  for (int k = 0; k < S::kK; ++k) {
    float x[S::kGroupsM][4], y[S::kGroupsN][4];
#pragma unroll
    for (int g = 0; g < S::kGroupsM; ++g) load_floats<4>(&a[k][ffma_slot(k, place.m + 16 * g)], x[g]);
#pragma unroll
    for (int g = 0; g < S::kGroupsN; ++g) load_floats<4>(&b[k][ffma_slot(k, place.n + 32 * g)], y[g]);
#pragma unroll
    for (int i = 0; i < 4 * S::kGroupsM; ++i)
#pragma unroll
      for (int j = 0; j < 4 * S::kGroupsN; ++j) sum[i][j] = fmaf(x[i / 4][i % 4], y[j / 4][j % 4], sum[i][j]);
  }
}

template <class S, class In, class Out>
__global__ void __launch_bounds__(S::kThreads) ffma_kernel(Product<In> product, Output<Out> c, std::int64_t slice_depth) {
  auto& shared = block_shared<typename S::Shared>();
  const Tile tile = tile_of_block<S::kM, S::kN>(product.m, product.n, product.k, slice_depth);
  Panel<In, S::kM, S::kK, S::kThreads> a(product.a, tile.m, product.m, tile.k1);
  Panel<In, S::kN, S::kK, S::kThreads> b(product.b, tile.n, product.n, tile.k1);
  const FfmaPlace<S> place;
  float sum[4 * S::kGroupsM][4 * S::kGroupsN] = {};

  a.fetch(tile.k0);
  b.fetch(tile.k0);
  a.store(shared.a[0]);
  b.store(shared.b[0]);
  int buffer = 0;
  for (std::int64_t k = tile.k0; k < tile.k1; k += S::kK, buffer ^= 1) {
    __syncthreads();
    const bool more = k + S::kK < tile.k1;
    if (more) {
      a.fetch(k + S::kK);
      b.fetch(k + S::kK);
    }
    ffma_step<S>(sum, shared.a[buffer], shared.b[buffer], place);
    if (more) {  // the other buffer was last read before the barrier above
      a.store(shared.a[buffer ^ 1]);
      b.store(shared.b[buffer ^ 1]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4 * S::kGroupsM; ++i) {
#pragma unroll
    for (int g = 0; g < S::kGroupsN; ++g) {
      float value[4] = {sum[i][4 * g], sum[i][4 * g + 1], sum[i][4 * g + 2], sum[i][4 * g + 3]};
      write_output<4>(c, tile.slice, tile.m + place.m + i / 4 * 16 + i % 4, tile.n + place.n + 32 * g, product.m, product.n, value);
    }
  }
}

}  // namespace galrec::gemm_cuda
