// Backward in fp32: blocks that own 64 keys sum dk and dv over queries, blocks that own 64 queries sum dq and the
// diagonals of ds over keys.

#include "kernels/attention/attention_distance.cuh"
#include "kernels/attention/attention_ffma.cuh"
#include "kernels/attention/attention_ffma.h"
#include "kernels/common/launch.h"

namespace galrec::attention_cuda {

namespace {

using namespace ffma;

template <int kDim>
struct Shared {
  using Tile = float[kTile][Shape<kDim>::kRow];
  Tile q, dout, k, v;
  float p[kTile][kScoreRow];
  RowStats stats[kTile];
  BiasLine bias;
  float distance[2 * kMaxReach + 1];  // sums of ds, clamped at the reach
  BlockScratch<float> reduce;
};

/// p (before dropout) and ds of the 4 x 4 scores of this thread; `dropped` becomes p after dropout.
template <int kDim>
__device__ __forceinline__ void score_gradients(float (&dropped)[4][4], float (&ds)[4][4], const Shared<kDim>& s,
                                                const Common& common, const Sequence& seq, int i0, int j0, int h,
                                                int ty, int tx) {
  float x[4][4] = {}, dp[4][4] = {};
  scores<kDim>(x, s.q, s.k, ty, tx);
  bias_and_mask(x, common, seq, s.bias, i0 + 4 * ty, j0 + 4 * tx);
  scores<kDim>(dp, s.dout, s.v, ty, tx);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const RowStats stats = s.stats[4 * ty + r];
    float multiplier[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    if (common.dropout.active()) {
      const std::uint64_t row = common.mask_block(seq.q0 + i0 + 4 * ty + r, h) * 8;
      dropout_multipliers<4>(common.dropout, row + static_cast<unsigned>(j0 + 4 * tx), multiplier);
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const float p = exp2_approx(x[r][c] - stats.x);
      ds[r][c] = p * (multiplier[c] * dp[r][c] - stats.y);
      dropped[r][c] = p * multiplier[c];
    }
  }
}

template <int kDim, class T>
__device__ __forceinline__ void load_queries(Shared<kDim>& s, const BackwardArgs<T>& args, const Sequence& seq, int h,
                                             int i0) {
  const Common& common = args.common;
  const int rows = min(kTile, seq.queries - i0), column = h * common.dim;
  load_tile<kDim, InOrder>(s.q, args.q, seq.q0 + i0, column, rows, common.dim, common.access);
  load_tile<kDim, InOrder>(s.dout, args.dout, seq.q0 + i0, column, rows, common.dim, common.access);
  for (int i = thread_id(); i < kTile; i += kThreads) {
    s.stats[i] =
        i < rows ? load_whole(args.stats_of(h) + seq.q0 + i0 + i) : make_float2(INFINITY, 0.0f);  // p of a row that is not there: 0
  }
}

template <int kDim, class T>
__device__ __forceinline__ void load_keys(Shared<kDim>& s, const BackwardArgs<T>& args, const Sequence& seq, int h,
                                          int j0) {
  const Common& common = args.common;
  const int rows = min(kTile, seq.keys - j0), column = h * common.dim;
  load_tile<kDim, AsKeys>(s.k, args.k, seq.k0 + j0, column, rows, common.dim, common.access);
  load_tile<kDim, AsKeys>(s.v, args.v, seq.k0 + j0, column, rows, common.dim, common.access);
}

template <class P>
__device__ __forceinline__ void keep_scores(P& p, const float (&x)[4][4], int ty, int tx) {
#pragma unroll
  for (int r = 0; r < 4; ++r) store_floats<4>(&p[4 * ty + r][4 * tx], x[r]);
}

// 64 channels need a few registers more than two blocks leave.
template <int kDim, class T>
__global__ void __launch_bounds__(kThreads, kDim == 32 ? 2 : 1) keys_kernel(BackwardArgs<T> args, WorkList list) {
  const Common& common = args.common;
  const int item = static_cast<int>(blockIdx.x) / common.heads, h = static_cast<int>(blockIdx.x) % common.heads;
  if (item >= *list.count) return;
  auto& s = block_shared<Shared<kDim>>();
  const WorkItem work = list.items[item];
  const Sequence seq = common.sequence(work.sequence);
  const int tx = thread_id() % 16, ty = thread_id() / 16, j0 = work.first;
  s.bias.fill(common.bias, h);
  load_keys(s, args, seq, h, j0);
  float dk[4][Shape<kDim>::kCols] = {}, dv[4][Shape<kDim>::kCols] = {};
  for (int i0 = common.first_query(j0) / kTile * kTile; i0 < seq.queries; i0 += kTile) {
    load_queries(s, args, seq, h, i0);
    __syncthreads();
    float dropped[4][4], ds[4][4];
    score_gradients(dropped, ds, s, common, seq, i0, j0, h, ty, tx);
    keep_scores(s.p, dropped, ty, tx);
    __syncthreads();
    weighted_queries<kDim>(dv, s.p, s.dout, ty, tx);
    __syncthreads();
    keep_scores(s.p, ds, ty, tx);
    __syncthreads();
    weighted_queries<kDim>(dk, s.p, s.q, ty, tx);
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int j = j0 + 4 * ty + r, column = h * common.dim;
    if (j >= seq.keys) continue;
    write_columns<kDim>(args.dk.row(seq.k0 + j) + column, dk[r], common.scale, tx, common.dim, common.access,
                        args.accumulate);
    write_columns<kDim>(args.dv.row(seq.k0 + j) + column, dv[r], 1.0f, tx, common.dim, common.access, args.accumulate);
  }
}

template <int kDim, class T>
__global__ void __launch_bounds__(kThreads) queries_kernel(BackwardArgs<T> args, WorkList list) {
  const Common& common = args.common;
  const int item = static_cast<int>(blockIdx.x) / common.heads, h = static_cast<int>(blockIdx.x) % common.heads;
  if (item >= *list.count) return;
  auto& s = block_shared<Shared<kDim>>();
  const WorkItem work = list.items[item];
  const Sequence seq = common.sequence(work.sequence);
  const int tx = thread_id() % 16, ty = thread_id() / 16, i0 = work.first, reach = common.bias.reach;
  const int seen = common.visible(min(i0 + kTile, seq.queries) - 1, seq.keys);
  s.bias.fill(common.bias, h);
  for (int i = thread_id(); i < 2 * reach + 1; i += kThreads) s.distance[i] = 0;
  load_queries(s, args, seq, h, i0);
  float dq[4][Shape<kDim>::kCols] = {}, below = 0, above = 0;  // sums of ds at distances up to -reach, from reach on
  for (int j0 = 0; j0 < seen; j0 += kTile) {
    load_keys(s, args, seq, h, j0);
    __syncthreads();
    float dropped[4][4], ds[4][4];
    score_gradients(dropped, ds, s, common, seq, i0, j0, h, ty, tx);
    keep_scores(s.p, ds, ty, tx);
    __syncthreads();
    weighted_keys<kDim>(dq, s.p, s.k, ty, tx);
    if (args.partial != nullptr && thread_id() < 2 * kTile - 1) {
      const int diagonal = thread_id() - (kTile - 1), distance = j0 - i0 + diagonal;
      float sum = 0;
      for (int i = max(0, -diagonal); i < min(kTile, kTile - diagonal); ++i) sum += s.p[i][i + diagonal];
      if (distance <= -reach) {
        below += sum;
      } else if (distance >= reach) {
        above += sum;
      } else {
        s.distance[distance + reach] += sum;
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int i = i0 + 4 * ty + r;
    if (i < seq.queries) {
      write_columns<kDim>(args.dq.row(seq.q0 + i) + h * common.dim, dq[r], common.scale, tx, common.dim, common.access,
                          args.accumulate);
    }
  }
  if (args.partial == nullptr) return;
  below = block_sum(below, s.reduce);
  above = block_sum(above, s.reduce);
  if (thread_id() == 0) {
    s.distance[0] += below;
    s.distance[2 * reach] += above;
  }
  __syncthreads();
  write_bucket_shares(args.partial_of(slot_of(work.sequence, seq, i0), h), s.distance, reach, common.bias, -(i0 + kTile - 1),
                      seq.keys - 1 - i0);
}

template <int kDim, class T>
void launch_backward(CudaContext& ctx, const BackwardArgs<T>& args, const WorkList& queries, const WorkList& keys) {
  const auto run = [&](auto kernel, const WorkList& list) {
    if (list.capacity > 0)
      launch(kernel, list.capacity * args.common.heads, dim3(kThreads), sizeof(Shared<kDim>), ctx.stream(), args, list);
  };
  run(keys_kernel<kDim, T>, keys);
  run(queries_kernel<kDim, T>, queries);
}

}  // namespace

template <class T>
void ffma_backward(CudaContext& ctx, const BackwardArgs<T>& args, const Extents& extents) {
  ScratchScope scratch(ctx.scratch());
  const ListRequest requests[] = {{.side = Side::kQueries, .tile = kTile}, {.side = Side::kKeys, .tile = kTile}};
  WorkList lists[2];
  build_lists(ctx, *scratch, args.common, extents, requests, 2, lists);
  if (args.common.dim <= 32) {
    launch_backward<32>(ctx, args, lists[0], lists[1]);
  } else if (args.common.dim <= 64) {
    launch_backward<64>(ctx, args, lists[0], lists[1]);
  } else {
    launch_backward<128>(ctx, args, lists[0], lists[1]);
  }
}

template void ffma_backward<float>(CudaContext&, const BackwardArgs<float>&, const Extents&);
template void ffma_backward<bfloat16>(CudaContext&, const BackwardArgs<bfloat16>&, const Extents&);

}  // namespace galrec::attention_cuda
