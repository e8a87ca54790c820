#pragma once
// One output tile on the ordinary fp32 units. Both operands lie depth-major in shared memory, whichever way they lie in
// global memory; the next step of the depth waits in registers while the present one is multiplied.

#include "kernels/common/mma.h"
#include "kernels/gemm/gemm_device.h"

namespace galrec::gemm_cuda {

/// Two steps of both operands, depth-major.
template <int kM, int kN, int kK>
struct DepthMajor {
  float a[2][kK][kM];
  float b[2][kK][kN];
};

/// kM x kN outputs; each thread owns kGroupsM groups of 4 rows, 16 apart, and kGroupsN groups of 4 columns, 32 apart: a
/// warp is 4 x 8 threads, so that the rows and columns that it reads at a time are 64 and 128 consecutive bytes.
template <int kM_, int kN_, int kGroupsM_, int kGroupsN_, int kBlocks_>
struct FfmaShape {
  static constexpr int kM = kM_, kN = kN_, kK = 16, kGroupsM = kGroupsM_, kGroupsN = kGroupsN_;
  static constexpr int kBlocks = kBlocks_;  // that share an SM
  static constexpr int kWarpM = 16 * kGroupsM, kWarpN = 32 * kGroupsN;
  static constexpr int kWarpsN = kN / kWarpN, kThreads = kM / kWarpM * kWarpsN * kWarpSize;
  using Shared = DepthMajor<kM, kN, kK>;
};
using FfmaLarge = FfmaShape<128, 128, 2, 2, 2>;
using FfmaSmall = FfmaShape<64, 64, 2, 1, 4>;

/// Where column `edge` of row `depth` lies: groups of eight are permuted so that neither four threads that write four
/// depths of one edge nor four that read four depths meet in a bank.
__device__ __forceinline__ int ffma_slot(int depth, int edge) { return edge ^ (8 * ((depth ^ (depth >> 2)) & 3)); }

enum class Rounding { kNone, kTf32 };

/// One operand's part of a step: kK x kEdge elements in pieces of 4, kPieces a thread. fetch() reads the next step, store() puts
/// it into shared memory.
template <class T, int kEdge, int kK, int kThreads, Rounding kRounding>
class Panel {
 public:
  __device__ Panel(const Operand<T>& operand, std::int64_t edge0, std::int64_t edge, std::int64_t k0, std::int64_t k1)
      : operand_(operand), edges_(static_cast<int>(min(edge - edge0, static_cast<std::int64_t>(kEdge)))), depths_(static_cast<int>(k1 - k0)) {
    const std::int64_t first = along_depth() ? edge0 * operand.stride + k0 : k0 * operand.stride + edge0;
    at_ = operand.data + first + row() * operand.stride + column();
  }

  __device__ __forceinline__ void fetch() {
    const int rows = along_depth() ? edges_ : depths_, columns = (along_depth() ? depths_ : edges_) - column();
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const T* p = at_ + i * row_step() * operand_.stride;
      const int valid = row() + i * row_step() < rows ? columns : 0;
      if (valid >= 4 && operand_.access == Access::kVector) {
        load_floats<4>(p, value_[i]);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) value_[i][j] = j < valid ? to_float(p[j]) : 0.0f;
      }
    }
    at_ += along_depth() ? kK : kK * operand_.stride;
    depths_ -= kK;
  }
  __device__ __forceinline__ void store(float (&to)[kK][kEdge]) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      if constexpr (kRounding == Rounding::kTf32) {
#pragma unroll
        for (int j = 0; j < 4; ++j) value_[i][j] = __uint_as_float(to_tf32(value_[i][j]));
      }
      const int r = row() + i * row_step(), c = column();
      if (along_depth()) {
#pragma unroll
        for (int j = 0; j < 4; ++j) to[c + j][ffma_slot(c + j, r)] = value_[i][j];
      } else {
        store_floats<4>(&to[r][ffma_slot(r, c)], value_[i]);
      }
    }
  }

 private:
  static constexpr int kPieces = kEdge * kK / 4 / kThreads;
  static_assert(kPieces * kThreads * 4 == kEdge * kK);

  // This thread's first piece, in rows and columns of memory.
  __device__ __forceinline__ bool along_depth() const { return operand_.major == Major::kDepth; }
  __device__ __forceinline__ int pieces_per_row() const { return along_depth() ? kK / 4 : kEdge / 4; }
  __device__ __forceinline__ int row() const { return thread_id() / pieces_per_row(); }
  __device__ __forceinline__ int column() const { return thread_id() % pieces_per_row() * 4; }
  __device__ __forceinline__ int row_step() const { return kThreads / pieces_per_row(); }

  const Operand<T>& operand_;
  int edges_, depths_;
  const T* at_;
  float value_[kPieces][4];
};

/// step(tile of a, tile of b) for all of the depth, the next tiles on their way meanwhile.
template <int kM, int kN, int kK, class PanelA, class PanelB, class Step>
__device__ __forceinline__ void in_steps(DepthMajor<kM, kN, kK>& shared, PanelA& a, PanelB& b, std::int64_t depth, const Step& step) {
  a.fetch();
  b.fetch();
  a.store(shared.a[0]);
  b.store(shared.b[0]);
  int buffer = 0;
  for (int left = static_cast<int>(depth); left > 0; left -= kK, buffer ^= 1) {
    __syncthreads();
    if (left > kK) {
      a.fetch();
      b.fetch();
    }
    step(shared.a[buffer], shared.b[buffer]);
    if (left > kK) {  // the other buffer was last read before the barrier above
      a.store(shared.a[buffer ^ 1]);
      b.store(shared.b[buffer ^ 1]);
    }
  }
}

/// This thread's place in the tile: its first row and column, and where they lie for each of the permutations of ffma_slot().
template <class S>
struct FfmaPlace {
  static_assert(S::kGroupsM == 2);  // 16 apart: the permutations of a row swap its groups, or move it by 8
  int m, n, slot_m[2], slot_n[4];
  __device__ FfmaPlace() {
    m = warp_id() / S::kWarpsN * S::kWarpM + lane_id() / 8 * 4;
    n = warp_id() % S::kWarpsN * S::kWarpN + lane_id() % 8 * 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) slot_m[i] = m ^ (8 * i);
#pragma unroll
    for (int i = 0; i < 4; ++i) slot_n[i] = n ^ (8 * i);
  }
};

template <class S>
__device__ __forceinline__ void ffma_step(float (&sum)[4 * S::kGroupsM][4 * S::kGroupsN], const float (&a)[S::kK][S::kM],
                                          const float (&b)[S::kK][S::kN], const FfmaPlace<S>& place) {
#pragma unroll
  for (int k = 0; k < S::kK; ++k) {
    const int turn = ffma_slot(k, 0) / 8;
    float x[S::kGroupsM][4], y[S::kGroupsN][4];
#pragma unroll
    for (int g = 0; g < S::kGroupsM; ++g) load_floats<4>(&a[k][place.slot_m[turn & 1] + 16 * (turn / 2 ^ g)], x[g]);
#pragma unroll
    for (int g = 0; g < S::kGroupsN; ++g) load_floats<4>(&b[k][place.slot_n[turn] + 32 * g], y[g]);
#pragma unroll
    for (int i = 0; i < 4 * S::kGroupsM; ++i)
#pragma unroll
      for (int j = 0; j < 4 * S::kGroupsN; ++j) sum[i][j] = fmaf(x[i / 4][i % 4], y[j / 4][j % 4], sum[i][j]);
  }
}

template <class S, class In, class Out>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) ffma_kernel(Product<In> product, Output<Out> c, std::int64_t slice_depth) {
  auto& shared = block_shared<typename S::Shared>();
  const Tile tile = tile_of_block<S::kM, S::kN>(product.m, product.n, product.k, slice_depth);
  Panel<In, S::kM, S::kK, S::kThreads, Rounding::kNone> a(product.a, tile.m, product.m, tile.k0, tile.k1);
  Panel<In, S::kN, S::kK, S::kThreads, Rounding::kNone> b(product.b, tile.n, product.n, tile.k0, tile.k1);
  const FfmaPlace<S> place;
  float sum[4 * S::kGroupsM][4 * S::kGroupsN] = {};

  in_steps(shared, a, b, tile.k1 - tile.k0,
           [&](const auto& a_step, const auto& b_step) { ffma_step<S>(sum, a_step, b_step, place); });
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
