// Backward of InfoNCE in fp32: the probabilities p_q of a part of the queue go to scratch, then sum_q p_q k_q is a plain product.

#include "kernels/info_nce/info_nce_device.h"

namespace galrec {

namespace {

constexpr std::int64_t kProbabilityBytes = std::int64_t{64} << 20;  // in scratch at once

// One block: kRows anchors against one split of the queue. probabilities ((N, chunk)) gets the p_q, pull ((splits, N)) their sums.
template <int kRows, RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads, 1)
    probability_kernel(View<float, 2> probabilities, View<float, 2> pull, NceOperands<float> o, View<const float, 1> lse,
                       std::int64_t split_rows, std::int64_t first_split) {
  using Tile = ScoreTile<float, kRows>;
  static_assert(Tile::kRowWarps == 1);
  auto& panels = block_shared<typename Tile::Panels>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kRows, split = first_split + blockIdx.x;
  const std::int64_t chunk = first_split * split_rows, end = min((split + 1) * split_rows, o.queue_rows());
  Tile tile;
  float sum[Tile::kThreadRows] = {};
  for (std::int64_t key = split * split_rows; key < end; key += kTileColumns) {
    tile.template compute<kAccess>(panels, RowsFrom<float>(o.anchor, first), RowsFrom<float>(o.queue, key),
                                   static_cast<int>(o.cols()));
#pragma unroll
    for (int i = 0; i < Tile::kThreadRows; ++i) {
      const std::int64_t n = first + Tile::row(i);
      if (n >= o.anchors()) continue;
      const std::int32_t own = o.own_ids[n];
      const float shift = lse[n];
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const std::int64_t q = key + Tile::column(j);
        const bool masked = q >= end || o.queue_ids[q] == own;
        const float p = masked ? 0.0f : exp2_approx((tile.at(i, j) * o.inverse_tau - shift) * kLog2E);
        sum[i] += p;
        probabilities(n, q - chunk) = p;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const float all = warp_sum<Tile::kRowLanes>(sum[i]);
    const std::int64_t n = first + Tile::row(i);
    if (lane_id() % Tile::kRowLanes == 0 && n < o.anchors()) pull(split, n) = all;
  }
}

constexpr int kBlock = 64;  // anchors and columns of a block's product
constexpr int kDepth = 32;  // queue rows in shared memory at once
constexpr int kThreads = 256;

struct ProductShared {
  alignas(16) float p[2][kBlock][kDepth];
  alignas(16) float key[2][kDepth][kBlock];
};

// Copies one stage. The rows of p are swizzled in chunks of 16 bytes; keys are read along rows and need no swizzle.
template <RowAccess kAccess>
__device__ __forceinline__ void load_stage(ProductShared& s, int stage, const View<const float, 2>& p,
                                           const View<const float, 2>& keys, std::int64_t first, std::int64_t column,
                                           std::int64_t key) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = thread_id() / 8 + 32 * i, chunk = thread_id() % 8;
    const bool inside = first + row < p.rows();
    cp_async16(&s.p[stage][row][(chunk ^ (row & 7)) * 4], inside ? p.row(first + row) + key + chunk * 4 : p.data, inside ? 16 : 0);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = thread_id() / 16 + 16 * i, at = thread_id() % 16 * 4;
    const std::int64_t left = key + row < keys.rows() ? max(keys.cols() - column - at, std::int64_t{0}) : 0;
    const int valid = static_cast<int>(min(left, std::int64_t{4}));
    const float* from = valid > 0 ? keys.row(key + row) + column + at : keys.data;
    if constexpr (kAccess == RowAccess::kVector) {
      cp_async16(&s.key[stage][row][at], from, valid * 4);
    } else {
      for (int e = 0; e < 4; ++e) s.key[stage][row][at + e] = e < valid ? from[e] : 0.0f;
    }
  }
}

// gradient[split n][c] = sum over the split's rows q of p[n][q - chunk] queue[q][c]: blocks of 64 x 64, 4 x 4 a thread.
template <RowAccess kAccess>
__global__ void __launch_bounds__(kThreads)
    product_kernel(View<float, 2> gradient, View<const float, 2> probabilities, View<const float, 2> queue, std::int64_t split_rows,
                   std::int64_t first_split) {
  auto& s = block_shared<ProductShared>();
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kBlock,
                     first = static_cast<std::int64_t>(blockIdx.y) * kBlock;
  const std::int64_t begin = blockIdx.z * split_rows;  // in the chunk
  // Keys of the chunk as a matrix of their own, so that both operands are counted alike.
  const std::int64_t chunk = first_split * split_rows;
  const View<const float, 2> keys(queue.row(chunk), {queue.rows() - chunk, queue.cols()}, queue.stride);
  const std::int64_t end = min(begin + split_rows, keys.rows());
  const int tx = thread_id() % 16, ty = thread_id() / 16;
  float sum[4][4] = {};
  load_stage<kAccess>(s, 0, probabilities, keys, first, column, begin);
  cp_async_commit();
  int stage = 0;
#pragma unroll 1
  for (std::int64_t key = begin; key < end; key += kDepth, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();
    if (key + kDepth < end) load_stage<kAccess>(s, stage ^ 1, probabilities, keys, first, column, key + kDepth);
    cp_async_commit();
#pragma unroll
    for (int k = 0; k < kDepth; k += 4) {
      Pack<float> a[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = load16(&s.p[stage][ty + 16 * i][(k / 4 ^ (ty & 7)) * 4]);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const Pack<float> b = load16(&s.key[stage][k + e][tx * 4]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] = __fmaf_rn(a[i][e], b[j], sum[i][j]);
        }
      }
    }
  }
  cp_async_wait<0>();
  const std::int64_t n = probabilities.rows();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t row = first + ty + 16 * i;
    if (row >= n || column + tx * 4 >= gradient.cols()) continue;
    Pack<float> out;
#pragma unroll
    for (int j = 0; j < 4; ++j) out[j] = sum[i][j];
    store16(gradient.row((first_split + blockIdx.z) * n + row) + column + tx * 4, out);
  }
}

template <int kRows>
void launch_probabilities(CudaContext& ctx, View<float, 2> probabilities, View<float, 2> pull, const NceOperands<float>& o,
                          View<const float, 1> lse, const QueueSplits& splits, std::int64_t first_split, std::int64_t count) {
  const bool vector = row_access(o.anchor, o.queue) == RowAccess::kVector;
  launch(vector ? probability_kernel<kRows, RowAccess::kVector> : probability_kernel<kRows, RowAccess::kScalar>,
         dim3(static_cast<unsigned>(count), static_cast<unsigned>((o.anchors() + kRows - 1) / kRows)), kTileThreads,
         sizeof(typename ScoreTile<float, kRows>::Panels), ctx.stream(), probabilities, pull, o, lse, splits.rows, first_split);
}

}  // namespace

NcePartials queue_gradient(CudaContext& ctx, Arena& scratch, const NceOperands<float>& o, View<const float, 1> lse) {
  const std::int64_t n = o.anchors();
  const QueueSplits splits(o.queue_rows(), kTileColumns, kTileColumns);
  const std::int64_t pitch = partial_pitch(o.cols());
  const NcePartials partials{scratch.matrix<float>(splits.count * n, pitch), scratch.matrix<float>(splits.count, n)};
  const std::int64_t split_bytes = n * splits.rows * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t at_once = std::clamp<std::int64_t>(kProbabilityBytes / split_bytes, 1, splits.count);
  const auto probabilities = scratch.matrix<float>(n, at_once * splits.rows);
  const bool vector = row_access(o.queue, o.queue) == RowAccess::kVector;
  for (std::int64_t first = 0; first < splits.count; first += at_once) {
    const std::int64_t count = std::min(at_once, splits.count - first);
    if (tile_rows(n) == 64)
      launch_probabilities<64>(ctx, probabilities, partials.pull, o, lse, splits, first, count);
    else
      launch_probabilities<128>(ctx, probabilities, partials.pull, o, lse, splits, first, count);
    launch(vector ? product_kernel<RowAccess::kVector> : product_kernel<RowAccess::kScalar>,
           dim3(static_cast<unsigned>((pitch + kBlock - 1) / kBlock), static_cast<unsigned>((n + kBlock - 1) / kBlock),
                static_cast<unsigned>(count)),
           kThreads, sizeof(ProductShared), ctx.stream(), partials.gradient, View<const float, 2>(probabilities), o.queue,
           splits.rows, first);
  }
  return partials;
}

}  // namespace galrec
