// Forward in bf16. Each warp owns 16 queries, whose scores, softmax and output never leave its registers; the block
// shares tiles of keys and values. Four kernels from one template:
//   tiny      a warp is a block: sequences up to 16
//   short     four warps, one tile of 64 keys: up to 64
//   resident  eight warps, all keys (up to 256) stay in shared memory while the queries pass by: every byte is read
//   once long      128 queries per block, key tiles stream through two buffers; up to 128 keys they fit

#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/attention_mma.h"
#include "kernels/common/launch.h"

namespace galrec::attention_cuda {

namespace {

template <int kDim_, int kWarps_, int kKeys_, int kStages_, int kBlocks_>
struct Shape {
  static constexpr int kDim = kDim_, kWarps = kWarps_, kKeys = kKeys_, kStages = kStages_;
  static constexpr int kThreads = kWarps * kWarpSize, kRows = 16 * kWarps;
  /// Keys whose scores are in registers at a time.
  static constexpr int kStep = kKeys < 32 ? kKeys : 32, kTiles = kStep / 8;
  static constexpr int kBlocks = kBlocks_;  // of one multiprocessor, for which registers must suffice
  static constexpr int kAhead = kStages > 1 ? kStages - 1 : 1;  // tiles on their way
  static constexpr int kMargin = 16 + kKeys;  // how far beyond the reach a tile looks that is not wholly beyond it
};

template <class S>
struct Shared {
  bfloat16 q[S::kRows * S::kDim];
  bfloat16 k[S::kStages][S::kKeys * S::kDim];
  bfloat16 v[S::kStages][S::kKeys * S::kDim];
  // the bias window follows
};

/// The running softmax of the two rows of a lane; `sum` over this lane's columns only.
struct Softmax {
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
};

/// Scores s, `unit` of which are a factor of 2, become p; what was summed before is scaled to the new maximum.
template <int kTiles, int kColumns>
__device__ __forceinline__ void softmax_step(float (&s)[kTiles][4], float (&out)[kColumns][4], Softmax& state,
                                             float unit) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float now = state.largest[half];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) now = fmaxf(now, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
    now = warp_max<4>(now);
    const float keep = exp2_approx((state.largest[half] - now) * unit);
    state.largest[half] = now;
    state.sum[half] *= keep;
    const float shift = now * unit;
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        s[n][e] = exp2_approx(fmaf(s[n][e], unit, -shift));
        state.sum[half] += s[n][e];
      }
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
      out[n][2 * half] *= keep;
      out[n][2 * half + 1] *= keep;
    }
  }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks)
    forward_kernel(ForwardArgs<bfloat16> args, WorkList list, int window_capacity) {
  constexpr int kDim = S::kDim, kKeys = S::kKeys, kTiles = S::kTiles;
  const Common& common = args.common;
  const int item = static_cast<int>(blockIdx.x) / common.heads, h = static_cast<int>(blockIdx.x) % common.heads;
  if (item >= *list.count) return;
  auto& s = block_shared<Shared<S>>();
  const WorkItem work = list.items[item];
  const Sequence seq = common.sequence(work.sequence);
  const int lane = lane_id(), warp = warp_id(), g = lane / 4, column = h * common.dim;
  const int first = work.first, end = min(seq.queries, first + list.tile);
  if (first >= end) return;
  const auto tiles_of = [&](int last) { return (common.visible(last, seq.keys) + kKeys - 1) / kKeys; };
  const int total = tiles_of(end - 1);

  const int far = common.bias.reach + S::kMargin, padded = (end - first + 15) / 16 * 16;
  BiasWindow window(reinterpret_cast<float*>(&s + 1), window_capacity, far, 1 - first - padded,
                    total * kKeys - 1 - first);
  if (common.bias.present()) window.fill(common.bias, h, 1.0f / common.scale, 1, thread_id(), S::kThreads);
  const auto copy_keys = [&](int tile) {
    const int j0 = tile * kKeys, count = min(kKeys, seq.keys - j0);
    copy_tile<kKeys, kDim>(s.k[tile % S::kStages], args.k, seq.k0 + j0, column, count, common, thread_id(),
                           S::kThreads);
    copy_tile<kKeys, kDim>(s.v[tile % S::kStages], args.v, seq.k0 + j0, column, count, common, thread_id(),
                           S::kThreads);
  };

  for (int pass = first; pass < end; pass += S::kRows) {
    const bool copying = pass == first;  // further passes find all keys where they are
    const int i0 = pass + 16 * warp, rows = min(max(end - i0, 0), 16);
    const int tiles = tiles_of(min(pass + S::kRows, end) - 1),
              seen = rows > 0 ? common.visible(i0 + rows - 1, seq.keys) : 0;
    __syncwarp();
    copy_tile<16, kDim>(s.q + warp * 16 * kDim, args.q, seq.q0 + i0, column, rows, common, lane, kWarpSize);
    if (copying) {
#pragma unroll
      for (int tile = 0; tile < S::kAhead; ++tile) {
        if (tile < total) copy_keys(tile);
        cp_async_commit();
      }
    } else {
      cp_async_commit();
    }

    float out[kDim / 8][4] = {};
    Softmax softmax;
    for (int tile = 0; tile < tiles; ++tile) {
      if (copying) {
        cp_async_wait<S::kAhead - 1>();
        __syncthreads();
        if (S::kStages > 1 && tile + S::kAhead < total) copy_keys(tile + S::kAhead);
        cp_async_commit();
      } else if (tile == 0) {
        cp_async_wait<0>();
        __syncthreads();
      }
#pragma unroll 1
      for (int step = 0; step < kKeys; step += S::kStep) {
        const int j0 = tile * kKeys + step;
        if (j0 >= seen) break;
        float p[kTiles][4];
        start_scores(p, common.bias, window, i0, j0);
        times_rows<kDim, kTiles>(p, s.q, 16 * warp, s.k[tile % S::kStages], step);
        if (j0 + S::kStep > common.visible(i0, seq.keys)) hide_keys(p, common, seq.keys, i0, j0);
        softmax_step(p, out, softmax, common.scale * kLog2e);
        if (common.dropout.active()) {
          const std::uint64_t block = common.mask_block(seq.q0 + i0 + g, h) + static_cast<unsigned>(j0 / 8);
          drop_keys(p, common.dropout, block, block + static_cast<std::uint64_t>(common.heads) * kMaskRow);
        }
#pragma unroll
        for (int k = 0; k < S::kStep / 16; ++k) {
          Registers4 a;
          as_left(a, p, k);
          times_columns<kDim>(out, a, s.v[tile % S::kStages], step + 16 * k);
        }
      }
    }
    if (rows == 0) continue;
    float scale[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = warp_sum<4>(softmax.sum[half]);
      scale[half] = total > 0 ? common.dropout.scale / sum : 0.0f;
      if (lane % 4 == 0 && g + 8 * half < rows) {
        args.lse.row(seq.q0 + i0 + g + 8 * half)[h] = softmax.largest[half] * common.scale + logf(sum);
      }
    }
    write_rows<kDim>(args.o, seq.q0 + i0, column, rows, out, scale[0], scale[1], common, Accumulate::kOverwrite);
  }
  cp_async_wait<0>();
}

/// `longest`: rows of a side that an item of the list can have, which bounds the distances that it sees.
template <class S>
void run(CudaContext& ctx, const ForwardArgs<bfloat16>& args, const WorkList& list, int longest) {
  if (list.capacity == 0) return;
  const Bias& bias = args.common.bias;
  const int capacity =
      bias.present() ? static_cast<int>(std::min<std::int64_t>(2 * (bias.reach + S::kMargin) + 1, 2LL * longest)) : 0;
  const std::size_t bytes =
      sizeof(Shared<S>) + (bias.present() ? static_cast<std::size_t>(BiasWindow::floats(capacity)) * sizeof(float) : 0);
  launch(forward_kernel<S>, list.capacity * args.common.heads, dim3(S::kThreads), bytes, ctx.stream(), args, list,
         capacity);
}

template <int kDim>
void forward_of(CudaContext& ctx, const ForwardArgs<bfloat16>& args, const Extents& extents) {
  constexpr bool kResident = kDim <= 64;
  constexpr int kWarps = kDim <= 64 ? 8 : 4;
  ScratchScope scratch(ctx.scratch());
  ListRequest requests[] = {{.longest = 16},
                            {.shortest = 17, .longest = 64},
                            {.shortest = 65, .side = Side::kQueries, .tile = 16 * kWarps},
                            {.shortest = 129, .longest = 256}};
  if (kResident) {
    requests[2].skip_from = requests[3].shortest;
    requests[2].skip_to = requests[3].longest;
  }
  WorkList lists[4];
  build_lists(ctx, *scratch, args.common, extents, requests, kResident ? 4 : 3, lists);
  run<Shape<kDim, kWarps, 64, 2, kDim <= 64 ? 2 : 1>>(ctx, args, lists[2], kNoLimit);
  if constexpr (kResident) run<Shape<kDim, 8, 64, 4, 2>>(ctx, args, lists[3], 256);
  run<Shape<kDim, 4, 64, 1, 1>>(ctx, args, lists[1], 64);
  run<Shape<kDim, 1, 16, 1, 1>>(ctx, args, lists[0], 16);
}

}  // namespace

void mma_forward(CudaContext& ctx, const ForwardArgs<bfloat16>& args, const Extents& extents) {
  if (args.common.dim <= 32) {
    forward_of<32>(ctx, args, extents);
  } else if (args.common.dim <= 64) {
    forward_of<64>(ctx, args, extents);
  } else {
    forward_of<128>(ctx, args, extents);
  }
}

}  // namespace galrec::attention_cuda
