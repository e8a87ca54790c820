// Forward in fp32: a block for 64 queries of one (sequence, head), streaming tiles of 64 keys, softmax as it goes.

#include "kernels/attention/attention_ffma.cuh"
#include "kernels/attention/attention_ffma.h"
#include "kernels/common/launch.h"

namespace galrec::attention_cuda {

namespace {

using namespace ffma;

template <int kDim>
struct Shared {
  float q[kTile][Shape<kDim>::kRow], k[kTile][Shape<kDim>::kRow], v[kTile][Shape<kDim>::kRow];
  float p[kTile][kScoreRow];
  BiasLine bias;
};

// At head size 128 shared memory admits one block an SM: it may have all registers.
template <int kDim, class T>
__global__ void __launch_bounds__(kThreads, kDim > 64 ? 1 : 2) forward_kernel(ForwardArgs<T> args, WorkList list) {
  const Common& common = args.common;
  const int item = static_cast<int>(blockIdx.x) / common.heads, h = static_cast<int>(blockIdx.x) % common.heads;
  if (item >= *list.count) return;
  auto& s = block_shared<Shared<kDim>>();
  const WorkItem work = list.items[item];
  const Sequence seq = common.sequence(work.sequence);
  const int tx = thread_id() % 16, ty = thread_id() / 16, column = h * common.dim;
  const int rows = min(kTile, seq.queries - work.first), seen = common.visible(work.first + rows - 1, seq.keys);
  s.bias.fill(common.bias, h);
  load_tile<kDim, InOrder>(s.q, args.q, seq.q0 + work.first, column, rows, common.dim, common.access);

  float out[4][Shape<kDim>::kCols] = {}, largest[4], sum[4] = {};
#pragma unroll
  for (int r = 0; r < 4; ++r) largest[r] = -INFINITY;
  for (int j0 = 0; j0 < seen; j0 += kTile) {
    load_tile<kDim, AsKeys>(s.k, args.k, seq.k0 + j0, column, min(kTile, seen - j0), common.dim, common.access);
    load_tile<kDim, AsKeys>(s.v, args.v, seq.k0 + j0, column, min(kTile, seen - j0), common.dim, common.access);
    __syncthreads();
    float x[4][4] = {};
    scores<kDim>(x, s.q, s.k, ty, tx);
    bias_and_mask(x, common, seq, s.bias, work.first + 4 * ty, j0 + 4 * tx);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float max_here = warp_max<16>(fmaxf(fmaxf(x[r][0], x[r][1]), fmaxf(x[r][2], x[r][3])));
      const float now = fmaxf(largest[r], max_here), keep = exp2_approx(largest[r] - now);
      largest[r] = now;
      float total = 0;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        x[r][c] = exp2_approx(x[r][c] - now);
        total += x[r][c];
      }
      sum[r] = sum[r] * keep + warp_sum<16>(total);
#pragma unroll
      for (int c = 0; c < Shape<kDim>::kCols; ++c) out[r][c] *= keep;
      if (common.dropout.active()) {
        const std::uint64_t row = common.mask_block(seq.q0 + work.first + 4 * ty + r, h) * 8;
        float multiplier[4];
        dropout_multipliers<4>(common.dropout, row + static_cast<unsigned>(j0 + 4 * tx), multiplier);
#pragma unroll
        for (int c = 0; c < 4; ++c) x[r][c] *= multiplier[c];
      }
      store_floats<4>(&s.p[4 * ty + r][4 * tx], x[r]);
    }
    __syncwarp();  // the 16 threads of a row are in one warp
    weighted_keys<kDim>(out, s.p, s.v, ty, tx);
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    if (4 * ty + r >= rows) continue;
    const std::int64_t token = seq.q0 + work.first + 4 * ty + r;
    const float inverse = seen > 0 ? 1.0f / sum[r] : 0.0f;
    write_columns<kDim>(args.o.row(token) + column, out[r], inverse, tx, common.dim, common.access,
                        Accumulate::kOverwrite);
    if (tx == 0) args.lse.row(token)[h] = (largest[r] + log2f(sum[r])) * kLn2;
  }
}

template <int kDim, class T>
void launch_forward(CudaContext& ctx, const ForwardArgs<T>& args, const WorkList& list) {
  launch(forward_kernel<kDim, T>, list.capacity * args.common.heads, dim3(kThreads), sizeof(Shared<kDim>), ctx.stream(),
         args, list);
}

}  // namespace

template <class T>
void ffma_forward(CudaContext& ctx, const ForwardArgs<T>& args, const Extents& extents) {
  ScratchScope scratch(ctx.scratch());
  const ListRequest request{.side = Side::kQueries, .tile = kTile};
  WorkList list;
  build_lists(ctx, *scratch, args.common, extents, &request, 1, &list);
  if (args.common.dim <= 32) {
    launch_forward<32>(ctx, args, list);
  } else if (args.common.dim <= 64) {
    launch_forward<64>(ctx, args, list);
  } else {
    launch_forward<128>(ctx, args, list);
  }
}

template void ffma_forward<float>(CudaContext&, const ForwardArgs<float>&, const Extents&);
template void ffma_forward<bfloat16>(CudaContext&, const ForwardArgs<bfloat16>&, const Extents&);

}  // namespace galrec::attention_cuda
