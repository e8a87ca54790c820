// A block multiplies a tile of rows by a tile of columns and, in place of storing logits, reduces each row of the tile to its
// maximum and its sum of exponentials (forward), or stores the gradient of the logits (backward).

#include "kernels/linear_cross_entropy/linear_cross_entropy_mma_device.h"

#include <cmath>

#include "kernels/common/device_status.h"
#include "kernels/gemm/gemm_mma.cuh"

namespace galrec::cross_entropy_cuda {

namespace {

using namespace gemm_cuda;

constexpr float kLog2e = 1.4426950408889634f;

/// What logits are made of.
struct Logits {
  Product<bfloat16> product;  // x (R,C) by w^T
  const float* bias;          // (V) or null
  const std::int32_t* targets;
  float scale;

  __device__ __forceinline__ float at(float product_sum, std::int64_t column) const {
    const float z = product_sum * scale;
    return bias != nullptr ? z + bias[column] : z;
  }
};

/// The maximum of some logits of a row and the sum of their exponentials relative to it; none at first.
struct LogSum {
  float top = -INFINITY, sum = 0.0f;

  /// What exponents are relative to: no NaN where all logits are -inf, but one where a logit is NaN.
  __device__ __forceinline__ float base() const { return top == -INFINITY ? 0.0f : top; }
  __device__ __forceinline__ void merge(const LogSum& other) {
    const LogSum both{fmaxf(top, other.top), 0.0f};
    sum = sum * exp2_approx((top - both.base()) * kLog2e) + other.sum * exp2_approx((other.top - both.base()) * kLog2e);
    top = both.top;
  }
};

template <class S>
struct LossShared {
  typename S::Ring ring;
  LogSum row[S::kWarpsN][S::kM];
};

template <class S>
__device__ __forceinline__ Tile logits_tile(MmaSums<S>& sums, typename S::Ring& ring, const Product<bfloat16>& p) {
  const Tile tile = tile_of_block<S::kM, S::kN>(p.m, p.n, p.k, p.k);
  CopyFor<bfloat16, S::kM, S::kK, S::kThreads, Major::kDepth, Fetch::kAsync> a(p.a, tile.m, p.m, 0, p.k);
  CopyFor<bfloat16, S::kN, S::kK, S::kThreads, Major::kDepth, Fetch::kAsync> b(p.b, tile.n, p.n, 0, p.k);
  multiply_tile<S>(sums, ring, a, b, p.k);
  return tile;
}

/// partial (column tiles, R); target_logits (R).
template <class S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) tile_losses_kernel(Logits in, LogSum* partial, float* target_logits) {
  auto& shared = block_shared<LossShared<S>>();
  MmaSums<S> sums;
  const Tile tile = logits_tile<S>(sums, shared.ring, in.product);
  const std::int64_t rows = in.product.m, columns = in.product.n;
  const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
  for (int i = 0; i < S::kTilesM; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int in_tile = sums.warp_m() + 16 * i + 8 * half + g;
      const std::int64_t row = tile.m + in_tile;
      const std::int64_t target = row < rows ? in.targets[row] : -1;
      LogSum all;
#pragma unroll
      for (int j = 0; j < S::kTilesN; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const std::int64_t column = tile.n + sums.warp_n() + 8 * j + 2 * t + e;
          float& z = sums.at[i][j][2 * half + e];
          z = column < columns ? in.at(z, column) : -INFINITY;
          if (column == target && column < columns) target_logits[row] = z;
          all.top = fmaxf(all.top, z);
        }
      all.top = warp_max<4>(all.top);
#pragma unroll
      for (int j = 0; j < S::kTilesN; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) all.sum += exp2_approx((sums.at[i][j][2 * half + e] - all.base()) * kLog2e);
      all.sum = warp_sum<4>(all.sum);
      if (t == 0) shared.row[warp_id() % S::kWarpsN][in_tile] = all;
    }
  __syncthreads();
  for (int r = thread_id(); r < S::kM && tile.m + r < rows; r += S::kThreads) {
    LogSum all = shared.row[0][r];
#pragma unroll
    for (int w = 1; w < S::kWarpsN; ++w) all.merge(shared.row[w][r]);
    partial[tile.n / S::kN * rows + tile.m + r] = all;
  }
}

constexpr int kWays = 16;

struct RowShared {
  LogSum way[kWays][kWarpSize];
};

/// A warp's lanes are 32 rows, its number a way: column tiles way, way + kWays, ...; then the ways in order.
__global__ void __launch_bounds__(kWays * kWarpSize)
    row_losses_kernel(View<float, 1> losses, View<float, 1> lse, const LogSum* partial, std::int64_t tiles, const float* target_logits,
                      View<const std::int32_t, 1> targets, std::int64_t columns, DeviceStatus* status) {
  auto& shared = block_shared<RowShared>();
  const std::int64_t rows = losses.extent(0), row = static_cast<std::int64_t>(blockIdx.x) * kWarpSize + lane_id();
  LogSum all;
  if (row < rows) {
    for (std::int64_t t = warp_id(); t < tiles; t += kWays) all.merge(partial[t * rows + row]);
  }
  shared.way[warp_id()][lane_id()] = all;
  __syncthreads();
  if (warp_id() != 0 || row >= rows) return;
#pragma unroll
  for (int w = 1; w < kWays; ++w) all.merge(shared.way[w][lane_id()]);
  const float total = all.top + logf(all.sum);
  lse[row] = total;
  const std::int32_t target = targets[row];
  if (target < 0 || target >= columns) {
    report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kCrossEntropy, target, columns);
    losses[row] = NAN;
  } else {
    losses[row] = total - target_logits[row];
  }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks)
    gradients_kernel(Logits in, Output<bfloat16> g, const float* lse, const float* dloss, float count) {
  auto& ring = block_shared<typename S::Ring>();
  MmaSums<S> sums;
  const Tile tile = logits_tile<S>(sums, ring, in.product);
  const float factor = *dloss / count;
  for_neighbours<8>(sums, [&](int row_in_tile, int column_in_tile, float (&value)[8]) {
    const std::int64_t row = tile.m + row_in_tile, first = tile.n + column_in_tile;
    if (row >= in.product.m) return;
    const float shift = lse[row];
    const std::int64_t target = in.targets[row];
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const float z = first + e < in.product.n ? in.at(value[e], first + e) : -INFINITY;
      value[e] = factor * (exp2_approx((z - shift) * kLog2e) - (first + e == target ? 1.0f : 0.0f));
    }
    write_output<8>(g, 0, row, first, in.product.m, in.product.n, value);
  });
}

Logits logits_of(const View<const bfloat16, 2>& x, const View<const bfloat16, 2>& w, const View<const float, 1>& bias,
                 const View<const std::int32_t, 1>& targets, float scale) {
  return {{x.rows(), w.rows(), x.cols(), operand_of<bfloat16>(x, Major::kDepth), operand_of<bfloat16>(w, Major::kDepth)},
          bias.data,
          targets.data,
          scale};
}

/// f(the shape of tiles): a tall tile for a small batch would multiply zeros.
template <class F>
void with_shape(std::int64_t rows, const F& f) {
  if (rows > MmaSmall::kM) {
    f(MmaLarge{});
  } else {
    f(MmaSmall{});
  }
}

template <class S>
dim3 tiles_of(const Logits& in) {
  return dim3(static_cast<unsigned>(pieces(in.product.m, S::kM) * pieces(in.product.n, S::kN)));
}

}  // namespace

bool fits_tensor_cores(View<const bfloat16, 2> x, View<const bfloat16, 2> w) {
  return x.cols() > 0 && operand_of<bfloat16>(x, Major::kDepth).access == Access::kVector &&
         operand_of<bfloat16>(w, Major::kDepth).access == Access::kVector;
}

void losses_of_products(CudaContext& ctx, View<float, 1> losses, View<float, 1> lse, View<const bfloat16, 2> x,
                        View<const bfloat16, 2> w, View<const float, 1> bias, View<const std::int32_t, 1> targets, float scale) {
  const Logits in = logits_of(x, w, bias, targets, scale);
  ScratchScope scratch(ctx.scratch());
  auto* target_logits = scratch->alloc<float>(x.rows());
  with_shape(x.rows(), [&]<class S>(S) {
    const std::int64_t tiles = pieces(w.rows(), S::kN);
    auto* partial = scratch->template alloc<LogSum>(tiles * x.rows());
    launch(tile_losses_kernel<S>, tiles_of<S>(in), dim3(S::kThreads), sizeof(LossShared<S>), ctx.stream(), in, partial, target_logits);
    launch(row_losses_kernel, pieces(x.rows(), kWarpSize), dim3(kWays * kWarpSize), sizeof(RowShared), ctx.stream(), losses, lse, partial,
           tiles, target_logits, targets, w.rows(), ctx.status());
  });
}

void gradients_of_products(CudaContext& ctx, View<bfloat16, 2> g, View<const bfloat16, 2> x, View<const bfloat16, 2> w,
                           View<const float, 1> bias, View<const std::int32_t, 1> targets, View<const float, 1> lse,
                           View<const float, 1> dloss, std::int64_t rows, float scale) {
  const Logits in = logits_of(x, w, bias, targets, scale);
  const Output<bfloat16> to{g.data, g.stride[0], 0, 1.0f, Accumulate::kOverwrite, access_of(g.data, g.stride[0])};
  with_shape(x.rows(), [&]<class S>(S) {
    launch(gradients_kernel<S>, tiles_of<S>(in), dim3(S::kThreads), sizeof(typename S::Ring), ctx.stream(), in, to, lse.data, dloss.data,
           static_cast<float>(rows));
  });
}

}  // namespace galrec::cross_entropy_cuda
