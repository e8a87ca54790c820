// Backward of InfoNCE in bf16: one pass over the queue, attention with K = V = queue. A block holds 32 anchors and the whole width
// of their sums: each of its 8 warps owns an eighth of the columns. Of a tile of 32 keys a warp needs its own columns only, first
// for its share of the scores, then for its part of sum_q p_q k_q; the shares meet in shared memory. So keys are read once per
// block, no score is computed twice, and the sums (32 x C) stay in registers up to C = 1024.

#include "kernels/common/mma.h"
#include "kernels/info_nce/info_nce_device.h"

namespace galrec {

namespace {

constexpr int kAnchors = 32, kKeys = 32, kWarps = 8, kThreads = kWarps * kWarpSize;
constexpr int kMaxSteps = 8;  // of 16 columns a warp owns

// Elements between rows of keys. The 16 bytes more than the columns take put the same columns of eight rows into different banks,
// and unlike an exclusive-or they leave every address of a thread a constant away from one register.
template <int kSteps>
constexpr int kPitch = kWarps* kSteps * 16 + 8;

template <int kSteps>
struct ColumnShared {
  alignas(16) bfloat16 keys[2][kKeys][kPitch<kSteps>];
  union {
    float4 share[kWarps][8][kWarpSize];  // each warp's share of the 32 x 32 scores, in the order of accumulators: [m n][lane]
    float pull[4][kAnchors];             // at the end
  };
  uint2 probability[2][4][kWarpSize];  // [m][n][lane]: an accumulator's four values as bf16, halves of an mma's A
};
static_assert(sizeof(ColumnShared<kMaxSteps>) <= 163 * 1024, "what sm_80 has");

// A warp's columns of 32 rows of `m` from `first` on, zeros past `end`.
template <RowAccess kAccess, int kSteps>
__device__ __forceinline__ void load_rows(bfloat16 (&to)[kKeys][kPitch<kSteps>], const View<const bfloat16, 2>& m,
                                          std::int64_t first, std::int64_t end) {
  constexpr int kChunks = kSteps * 2, kEights = kChunks / 8;
#pragma unroll 1  // or the addresses of all copies stay in registers that the sums need
  for (int i = 0; i < kChunks; ++i) {
    int row, of_row;
    if (kChunks % 8 != 4 || i < kEights * 8) {
      constexpr int kTogether = kChunks % 8 != 4 ? kChunks : kEights > 0 ? kEights * 8 : 1;
      const int at = i * kWarpSize + lane_id();
      row = at / kTogether;
      of_row = at % kTogether;
    } else {  // four chunks are left of each row: those of rows r and r + 4 are 16 banks apart
      const int at = (i - kEights * 8) * kWarpSize + lane_id();
      row = at / 32 * 8 + at / 8 % 4 + at % 8 / 4 * 4;
      of_row = kEights * 8 + at % 4;
    }
    const int chunk = warp_id() * kChunks + of_row;
    const int left = first + row < end ? static_cast<int>(m.cols()) - chunk * 8 : 0;
    const int valid = max(0, min(8, left));
    const bfloat16* from = valid > 0 ? m.row(first + row) + chunk * 8 : m.data;
    bfloat16* place = &to[row][chunk * 8];
    if constexpr (kAccess == RowAccess::kVector) {
      cp_async16(place, from, valid * 2);
    } else {
      Pack<bfloat16> pack;
#pragma unroll
      for (int e = 0; e < 8; ++e) pack[e] = e < valid ? from[e] : bfloat16(0.0f);
      store16(place, pack);
    }
  }
}

// Block (x, y): 32 anchors, split y of the queue.
template <int kSteps, RowAccess kAccess>
__global__ void __launch_bounds__(kThreads, 1)
    column_kernel(NcePartials out, NceOperands<bfloat16> o, View<const float, 1> lse, std::int64_t split_rows) {
  using Shared = ColumnShared<kSteps>;
  auto& s = block_shared<Shared>();
  const int warp = warp_id(), lane = lane_id(), group = lane / 4, pair = lane % 4 * 2;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kAnchors, split = blockIdx.y;
  const std::int64_t begin = split * split_rows, end = min(begin + split_rows, o.queue_rows());
  const int first_column = warp * kSteps * 16;

  // The anchors as mma operands, for good. They come in through the first stage of the keys.
  std::uint32_t anchor[2][kSteps][4];
  load_rows<kAccess, kSteps>(s.keys[0], o.anchor, first, o.anchors());
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      ldmatrix_x4(anchor[m][step], &s.keys[0][m * 16 + lane % 16][first_column + step * 16 + lane / 16 * 8]);
    }
  }
  __syncwarp();

  // In the reduction this thread has the scores of two anchors with two keys: accumulator (m, n) = (warp / 4, warp % 4) of its
  // lane.
  const int row[2] = {warp / 4 * 16 + group, warp / 4 * 16 + group + 8};
  std::int32_t own[2];
  float shift[2], pull[2] = {0, 0};
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const bool inside = first + row[h] < o.anchors();
    own[h] = inside ? o.own_ids[first + row[h]] : 0;
    shift[h] = inside ? lse[first + row[h]] : INFINITY;  // p = 0
  }

  float sum[2][kSteps * 2][4] = {};
  load_rows<kAccess, kSteps>(s.keys[0], o.queue, begin, end);
  cp_async_commit();
  int stage = 0;
#pragma unroll 1
  for (std::int64_t key = begin; key < end; key += kKeys, stage ^= 1) {
    if (key + kKeys < end) load_rows<kAccess, kSteps>(s.keys[stage ^ 1], o.queue, key + kKeys, end);
    cp_async_commit();
    cp_async_wait<1>();
    __syncwarp();  // a warp reads only what it copied itself
    const auto& keys = s.keys[stage];

#pragma unroll
    for (int half = 0; half < 2; ++half) {  // 16 keys at a time
      float score[2][2][4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        std::uint32_t b[4];
        ldmatrix_x4(b, &keys[half * 16 + lane / 16 * 8 + lane % 8][first_column + step * 16 + lane / 8 % 2 * 8]);
        const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_m16n8k16_bf16(score[m][0], anchor[m][step], b0);
          mma_m16n8k16_bf16(score[m][1], anchor[m][step], b1);
        }
      }
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          store_whole(&s.share[warp][m * 4 + half * 2 + n][lane],
                      make_float4(score[m][n][0], score[m][n][1], score[m][n][2], score[m][n][3]));
        }
      }
    }
    __syncthreads();

    float4 total = load_whole(&s.share[0][warp][lane]);
#pragma unroll
    for (int w = 1; w < kWarps; ++w) {
      const float4 more = load_whole(&s.share[w][warp][lane]);
      total.x += more.x;
      total.y += more.y;
      total.z += more.z;
      total.w += more.w;
    }
    float p[4] = {total.x, total.y, total.z, total.w};
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const std::int64_t q = key + warp % 4 * 8 + pair + e;
      const bool outside = q >= end;
      const std::int32_t id = outside ? 0 : o.queue_ids[q];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float& value = p[h * 2 + e];
        value = outside || id == own[h] ? 0.0f : exp2_approx((value * o.inverse_tau - shift[h]) * kLog2E);
        pull[h] += value;
      }
    }
    store_whole(&s.probability[warp / 4][warp % 4][lane], make_uint2(pack_bf16x2(p[0], p[1]), pack_bf16x2(p[2], p[3])));
    __syncthreads();

#pragma unroll 1
    for (int half = 0; half < 2; ++half) {
      std::uint32_t a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const uint2 low = load_whole(&s.probability[m][half * 2][lane]), high = load_whole(&s.probability[m][half * 2 + 1][lane]);
        a[m][0] = low.x;
        a[m][1] = low.y;
        a[m][2] = high.x;
        a[m][3] = high.y;
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        std::uint32_t b[4];
        ldmatrix_x4<MatrixOrder::kTransposed>(b, &keys[half * 16 + lane % 16][first_column + step * 16 + lane / 16 * 8]);
        const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_m16n8k16_bf16(sum[m][step * 2], a[m], b0);
          mma_m16n8k16_bf16(sum[m][step * 2 + 1], a[m], b1);
        }
      }
    }
    __syncwarp();  // before the stage is filled again
  }
  cp_async_wait<0>();

#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < kSteps * 2; ++n) {
      const int column = first_column + n * 8 + pair;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const std::int64_t at = first + m * 16 + group + h * 8;
        if (at >= o.anchors() || column >= out.gradient.cols()) continue;
        float* to = out.gradient.row(split * o.anchors() + at) + column;
        store_whole(reinterpret_cast<float2*>(to), make_float2(sum[m][n][h * 2], sum[m][n][h * 2 + 1]));
      }
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float of_keys = warp_sum<4>(pull[h]);
    // Its place held scores, last read before the barrier that precedes the products.
    if (lane % 4 == 0) s.pull[warp % 4][row[h]] = of_keys;
  }
  __syncthreads();
  const int r = thread_id();
  if (r < kAnchors && first + r < o.anchors())
    out.pull(split, first + r) = s.pull[0][r] + s.pull[1][r] + s.pull[2][r] + s.pull[3][r];
}

template <int kSteps>
void launch_columns(CudaContext& ctx, const NcePartials& out, const NceOperands<bfloat16>& o, View<const float, 1> lse,
                    const QueueSplits& splits) {
  const bool vector = row_access(o.anchor, o.queue) == RowAccess::kVector;
  launch(vector ? column_kernel<kSteps, RowAccess::kVector> : column_kernel<kSteps, RowAccess::kScalar>,
         dim3(static_cast<unsigned>((o.anchors() + kAnchors - 1) / kAnchors), static_cast<unsigned>(splits.count)), kThreads,
         sizeof(ColumnShared<kSteps>), ctx.stream(), out, o, lse, splits.rows);
}

}  // namespace

NcePartials queue_gradient(CudaContext& ctx, Arena& scratch, const NceOperands<bfloat16>& o, View<const float, 1> lse) {
  const std::int64_t n = o.anchors(), steps = (o.cols() + kWarps * 16 - 1) / (kWarps * 16);
  GALREC_CHECK(steps <= kMaxSteps, "rows of {} elements, at most {} are possible in bf16 on this device", o.cols(),
               kMaxSteps * kWarps * 16);
  const QueueSplits splits(o.queue_rows(), 2 * kKeys, kKeys);
  const NcePartials partials{scratch.matrix<float>(splits.count * n, partial_pitch(o.cols())),
                             scratch.matrix<float>(splits.count, n)};
  if (steps <= 1)
    launch_columns<1>(ctx, partials, o, lse, splits);
  else if (steps <= 2)
    launch_columns<2>(ctx, partials, o, lse, splits);
  else if (steps <= 4)
    launch_columns<4>(ctx, partials, o, lse, splits);
  else if (steps <= 6)
    launch_columns<6>(ctx, partials, o, lse, splits);
  else
    launch_columns<8>(ctx, partials, o, lse, splits);
  return partials;
}

}  // namespace galrec
