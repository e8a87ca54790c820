// Backward in bf16, blocks that own keys. A warp owns 16 keys, or twice 16, whose dk and dv stay in its registers while
// the queries pass by in steps: scores are computed with keys down the rows, so that p^T and ds^T are left operands as
// they stand. Where a block holds all keys of a sequence (longest_whole), ds also goes through shared memory to dq, and
// nothing is computed twice: five products, every byte read once. Longer sequences leave dq and the table to
// attention_mma_queries.cu.

#include "kernels/attention/attention_distance.cuh"
#include "kernels/attention/attention_mma.h"
#include "kernels/attention/attention_mma_gradients.cuh"
#include "kernels/common/launch.h"

namespace galrec::attention_cuda {

namespace {

enum class Scope { kWhole, kKeysOnly };

template <int kDim_, int kWarps_, int kStep_, Scope kScope_, int kParts_ = 1>
struct Shape {
  static constexpr int kDim = kDim_, kWarps = kWarps_, kStep = kStep_, kParts = kParts_;  // parts: of 16 keys, a warp
  static constexpr bool kWhole = kScope_ == Scope::kWhole;
  static constexpr int kThreads = kWarps * kWarpSize, kKeys = 16 * kWarps * kParts, kTiles = kStep / 8;
  static constexpr int kMargin = 16 + kStep;
  using Sums = DistanceSums<kTiles>;
};

template <class S>
struct Shared {
  bfloat16 k[S::kKeys * S::kDim], v[S::kKeys * S::kDim];
  bfloat16 q[2][S::kStep * S::kDim], dout[2][S::kStep * S::kDim];
  alignas(16) std::uint32_t ds[S::kWhole ? S::kKeys * S::kStep / 2 : 4];  // pairs of bf16, [key][query]
  alignas(16) float stats[2][2 * S::kStep];                               // RowStats
  alignas(16) float patch[S::kWhole ? S::kWarps * S::Sums::kPatch : 4];
  // the bias window and the warps' lines of distance sums follow
};

/// dq of 16 queries, two column tiles at a time: 32 bytes of a row by four lanes.
__device__ __forceinline__ void write_strip(Rows<bfloat16> to, std::int64_t first, int column, int d0, int count,
                                            const float (&x)[2][4], float scale, const Common& common,
                                            Accumulate accumulate) {
  const int lane = lane_id(), g = lane / 4, t = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const bool there = g + 8 * half < count;
    bfloat16* row = to.row(first + (there ? g + 8 * half : 0)) + column;
    if (common.access == Access::kScalar) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int d = d0 + i / 2 * 8 + 2 * t + i % 2;
        float one[1] = {x[i / 2][2 * half + i % 2] * scale};
        if (there && d < common.dim) update_floats<1>(row + d, one, accumulate);
      }
      continue;
    }
    // Lane t takes columns 4 (t % 2) of tile t / 2: what lanes 2 (t % 2) and + 1 hold.
    float value[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int from = 2 * (t % 2) + i / 2;
      const float low = __shfl_sync(kFullMask, x[0][2 * half + i % 2], from, 4);
      const float high = __shfl_sync(kFullMask, x[1][2 * half + i % 2], from, 4);
      value[i] = (t < 2 ? low : high) * scale;
    }
    const int d = d0 + 4 * t;
    if (there && d < common.dim) update_floats<4>(row + d, value, accumulate);
  }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1)
    keys_kernel(BackwardArgs<bfloat16> args, WorkList list, int window_capacity, int line_reach) {
  constexpr int kDim = S::kDim, kStep = S::kStep, kTiles = S::kTiles;
  const Common& common = args.common;
  const int item = static_cast<int>(blockIdx.x) / common.heads, h = static_cast<int>(blockIdx.x) % common.heads;
  if (item >= *list.count) return;
  auto& s = block_shared<Shared<S>>();
  const WorkItem work = list.items[item];
  const Sequence seq = common.sequence(work.sequence);
  const int lane = lane_id(), warp = warp_id(), g = lane / 4, t = lane % 4, column = h * common.dim;
  const int first_key = S::kWhole ? 0 : work.first;
  const int start = S::kWhole ? 0 : common.first_query(first_key) / kStep * kStep;

  // Distances query - key, as the columns of a fragment rise.
  const int far = common.bias.reach + S::kMargin, padded_queries = (seq.queries + kStep - 1) / kStep * kStep;
  auto* memory = reinterpret_cast<float*>(&s + 1);
  BiasWindow window(memory, window_capacity, far, start - (first_key + S::kKeys - 1), padded_queries - 1 - first_key);
  if (common.bias.present()) window.fill(common.bias, h, 1.0f / common.scale, -1, thread_id(), S::kThreads);
  float* lines = memory + (common.bias.present() ? BiasWindow::floats(window_capacity) : 0);
  const bool summing = S::kWhole && args.partial != nullptr;
  typename S::Sums sums(s.patch + (S::kWhole ? warp * S::Sums::kPatch : 0),
                        lines + (summing ? warp * S::Sums::line_floats(line_reach) : 0), summing ? line_reach : -1);

  const auto copy_step = [&](int i0, int stage) {
    const int count = min(kStep, seq.queries - i0);
    copy_tile<kStep, kDim>(s.q[stage], args.q, seq.q0 + i0, column, count, common, thread_id(), S::kThreads);
    copy_tile<kStep, kDim>(s.dout[stage], args.dout, seq.q0 + i0, column, count, common, thread_id(), S::kThreads);
    copy_stats<kStep>(s.stats[stage], args.stats_of(h) + seq.q0 + i0, count, thread_id(), S::kThreads);
  };
  const int block_rows = min(S::kKeys, seq.keys - first_key);
  copy_tile<S::kKeys, kDim>(s.k, args.k, seq.k0 + first_key, column, block_rows, common, thread_id(), S::kThreads);
  copy_tile<S::kKeys, kDim>(s.v, args.v, seq.k0 + first_key, column, block_rows, common, thread_id(), S::kThreads);
  if (start < seq.queries) copy_step(start, 0);
  cp_async_commit();

  float dk[S::kParts][kDim / 8][4] = {}, dv[S::kParts][kDim / 8][4] = {};
  int stage = 0;
  for (int i0 = start; i0 < seq.queries; i0 += kStep, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();
    if (i0 + kStep < seq.queries) copy_step(i0 + kStep, stage ^ 1);
    cp_async_commit();
    const int last = min(i0 + kStep, seq.queries) - 1, seen = common.visible(last, seq.keys);
#pragma unroll
    for (int part = 0; part < S::kParts; ++part) {
      const int own = 16 * (part * S::kWarps + warp), j0 = first_key + own;
      if (j0 >= seen) break;
      float p[kTiles][4], ds[kTiles][4] = {};
      start_scores(p, common.bias, window, j0, i0);
      times_rows<kDim, kTiles>(p, s.k, own, s.q[stage], 0);
      if (j0 + 15 >= common.visible(i0, seq.keys)) hide_queries(p, common, seq.keys, j0, i0);
      times_rows<kDim, kTiles>(ds, s.v, own, s.dout[stage], 0);
      std::uint32_t kept[2 * kTiles] = {};
      if (common.dropout.active()) {
        keys_kept<kTiles>(kept, common.dropout, common.mask_block(seq.q0 + i0, h) + static_cast<unsigned>(j0 / 8),
                          static_cast<std::uint64_t>(common.heads) * (kMaskRow / 8));
        drop_queries(ds, kept);
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const float4 two = load_whole(reinterpret_cast<const float4*>(&s.stats[stage][2 * (8 * n + 2 * t)]));
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float lse = e % 2 == 0 ? two.x : two.z, delta = e % 2 == 0 ? two.y : two.w;
          p[n][e] = exp2_approx(fmaf(p[n][e], common.scale * kLog2e, -lse));
          ds[n][e] = p[n][e] * fmaf(ds[n][e], common.dropout.scale, -delta);
        }
      }
      if (common.dropout.active()) drop_queries(p, kept);
#pragma unroll
      for (int k = 0; k < kStep / 16; ++k) {
        Registers4 a;
        as_left(a, p, k);
        times_columns<kDim>(dv[part], a, s.dout[stage], 16 * k);
        as_left(a, ds, k);
        times_columns<kDim>(dk[part], a, s.q[stage], 16 * k);
        if constexpr (S::kWhole) {  // a: keys g, g + 8 by queries 16 k + 2 t and 8 further
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int key = own + g + i % 2 * 8;
            s.ds[swizzled<kStep>(key, 2 * k + i / 2) / 2 + t] = a[i];
          }
        }
      }
      if (summing) sums.add(ds, j0 - i0, -1);
    }
    if constexpr (S::kWhole) {
      __syncthreads();
      constexpr int kStrips = kDim / 16, kJobs = kStep / 16 * kStrips;
#pragma unroll 1
      for (int job = warp; job < kJobs; job += S::kWarps) {
        const int d0 = job % kStrips * 16, row = job / kStrips * 16, rows = min(max(seq.queries - i0 - row, 0), 16);
        float dq[2][4] = {};
#pragma unroll 2
        for (int j = 0; j < seen; j += 16)
          times_transposed<kStep, kDim>(dq, reinterpret_cast<const bfloat16*>(s.ds), row, s.k, d0, j);
        write_strip(args.dq, seq.q0 + i0 + row, column, d0, rows, dq, common.scale, common, args.accumulate);
      }
    }
  }
  cp_async_wait<0>();
#pragma unroll
  for (int part = 0; part < S::kParts; ++part) {
    const int j0 = first_key + 16 * (part * S::kWarps + warp), key_rows = min(seq.keys - j0, 16);
    if (key_rows <= 0) break;
    write_rows<kDim>(args.dk, seq.k0 + j0, column, key_rows, dk[part], common.scale, common.scale, common,
                     args.accumulate);
    write_rows<kDim>(args.dv, seq.k0 + j0, column, key_rows, dv[part], common.dropout.scale, common.dropout.scale,
                     common, args.accumulate);
  }
  if constexpr (S::kWhole) {
    if (!summing) return;
    sums.finish();
    __syncthreads();
    const int length = S::Sums::line_floats(line_reach);
    for (int i = thread_id(); i < length; i += S::kThreads) {
      for (int w = 1; w < S::kWarps; ++w) lines[i] += lines[w * length + i];
    }
    __syncthreads();
    write_bucket_shares(args.partial_of(slot_of(work.sequence, seq, 0), h), lines, line_reach, common.bias,
                        1 - seq.queries, seq.keys - 1);
  }
}

/// `longest`: rows of a side that an item can have.
template <class S>
void run(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const WorkList& list, int longest) {
  if (list.capacity == 0) return;
  const Bias& bias = args.common.bias;
  const int capacity =
      static_cast<int>(std::min<std::int64_t>(2 * (bias.reach + S::kMargin) + 1, 2LL * longest + S::kStep));
  const int line_reach = std::min(bias.reach, longest);
  std::size_t floats = 0;
  if (bias.present()) floats += static_cast<std::size_t>(BiasWindow::floats(capacity));
  if (S::kWhole && args.partial != nullptr)
    floats += static_cast<std::size_t>(S::kWarps * S::Sums::line_floats(line_reach));
  launch(keys_kernel<S>, list.capacity * args.common.heads, dim3(S::kThreads),
         sizeof(Shared<S>) + floats * sizeof(float), ctx.stream(), args, list, capacity, line_reach);
}

}  // namespace

template <int kDim>
void mma_backward_keys(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const BackwardLists& lists) {
  constexpr auto kWhole = Scope::kWhole;
  constexpr int kStep = kDim <= 64 ? 32 : 16;
  run<Shape<kDim, 8, kStep, Scope::kKeysOnly>>(ctx, args, lists.keys, kNoLimit);
  if constexpr (longest_whole(kDim) == 256)
    run<Shape<kDim, 8, kDim <= 32 ? 32 : 16, kWhole, 2>>(ctx, args, lists.whole[3], 256);
  run<Shape<kDim, 8, kStep, kWhole>>(ctx, args, lists.whole[2], 128);
  run<Shape<kDim, 4, kStep, kWhole>>(ctx, args, lists.whole[1], 64);
  run<Shape<kDim, 1, 16, kWhole>>(ctx, args, lists.whole[0], 16);
}

template void mma_backward_keys<32>(CudaContext&, const BackwardArgs<bfloat16>&, const BackwardLists&);
template void mma_backward_keys<64>(CudaContext&, const BackwardArgs<bfloat16>&, const BackwardLists&);
template void mma_backward_keys<128>(CudaContext&, const BackwardArgs<bfloat16>&, const BackwardLists&);

}  // namespace galrec::attention_cuda
