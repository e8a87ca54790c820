// Backward in bf16 of long sequences, blocks that own queries: dq and the shares of dtable. A warp owns 16 queries and
// walks over the keys as forward does; ds is the left operand of the product with k as it stands.

#include "kernels/attention/attention_distance.cuh"
#include "kernels/attention/attention_mma.h"
#include "kernels/attention/attention_mma_gradients.cuh"
#include "kernels/common/launch.h"

namespace galrec::attention_cuda {

namespace {

template <int kDim_>
struct Shape {
  static constexpr int kDim = kDim_, kWarps = 8, kStep = 32;
  static constexpr int kThreads = kWarps * kWarpSize, kRows = 16 * kWarps, kTiles = kStep / 8;
  static constexpr int kMargin = 16 + kStep;
  using Sums = DistanceSums<kTiles>;
};

template <class S>
struct Shared {
  bfloat16 q[S::kRows * S::kDim], dout[S::kRows * S::kDim];
  bfloat16 k[2][S::kStep * S::kDim], v[2][S::kStep * S::kDim];
  alignas(16) float patch[S::kWarps * S::Sums::kPatch];
  // the bias window and the warps' lines of distance sums follow
};

// One block a multiprocessor: with two, 32 channels spill on sm_80.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1)
    queries_kernel(BackwardArgs<bfloat16> args, WorkList list, int window_capacity) {
  constexpr int kDim = S::kDim, kStep = S::kStep, kTiles = S::kTiles;
  const Common& common = args.common;
  const int item = static_cast<int>(blockIdx.x) / common.heads, h = static_cast<int>(blockIdx.x) % common.heads;
  if (item >= *list.count) return;
  auto& s = block_shared<Shared<S>>();
  const WorkItem work = list.items[item];
  const Sequence seq = common.sequence(work.sequence);
  const int lane = lane_id(), warp = warp_id(), g = lane / 4, column = h * common.dim, first = work.first;
  const int block_rows = min(S::kRows, seq.queries - first), i0 = first + 16 * warp,
            rows = min(max(seq.queries - i0, 0), 16);
  const int total = common.visible(first + block_rows - 1, seq.keys),
            seen = rows > 0 ? common.visible(i0 + rows - 1, seq.keys) : 0;

  const int reach = common.bias.reach, far = reach + S::kMargin;
  auto* memory = reinterpret_cast<float*>(&s + 1);
  BiasWindow window(memory, window_capacity, far, 1 - first - S::kRows,
                    (total + kStep - 1) / kStep * kStep - 1 - first);
  if (common.bias.present()) window.fill(common.bias, h, 1.0f / common.scale, 1, thread_id(), S::kThreads);
  float* lines = memory + (common.bias.present() ? BiasWindow::floats(window_capacity) : 0);
  const bool summing = args.partial != nullptr;
  const int length = S::Sums::line_floats(reach);
  typename S::Sums sums(s.patch + warp * S::Sums::kPatch, lines + (summing ? warp * length : 0), summing ? reach : -1);

  const auto copy_step = [&](int j0, int stage) {
    const int count = min(kStep, seq.keys - j0);
    copy_tile<kStep, kDim>(s.k[stage], args.k, seq.k0 + j0, column, count, common, thread_id(), S::kThreads);
    copy_tile<kStep, kDim>(s.v[stage], args.v, seq.k0 + j0, column, count, common, thread_id(), S::kThreads);
  };
  copy_tile<S::kRows, kDim>(s.q, args.q, seq.q0 + first, column, block_rows, common, thread_id(), S::kThreads);
  copy_tile<S::kRows, kDim>(s.dout, args.dout, seq.q0 + first, column, block_rows, common, thread_id(), S::kThreads);
  if (total > 0) copy_step(0, 0);
  cp_async_commit();
  RowStats stats[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = g + 8 * half;
    stats[half] = row < rows ? load_whole(args.stats_of(h) + seq.q0 + i0 + row) : make_float2(INFINITY, 0.0f);
  }

  float dq[kDim / 8][4] = {};
  int stage = 0;
  for (int j0 = 0; j0 < total; j0 += kStep, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();
    if (j0 + kStep < total) copy_step(j0 + kStep, stage ^ 1);
    cp_async_commit();
    if (j0 >= seen) continue;
    float p[kTiles][4], ds[kTiles][4] = {};
    start_scores(p, common.bias, window, i0, j0);
    times_rows<kDim, kTiles>(p, s.q, 16 * warp, s.k[stage], 0);
    if (j0 + kStep > common.visible(i0, seq.keys)) hide_keys(p, common, seq.keys, i0, j0);
    times_rows<kDim, kTiles>(ds, s.dout, 16 * warp, s.v[stage], 0);
    if (common.dropout.active()) {
      const std::uint64_t block = common.mask_block(seq.q0 + i0 + g, h) + static_cast<unsigned>(j0 / 8);
      drop_keys(ds, common.dropout, block, block + static_cast<std::uint64_t>(common.heads) * kMaskRow);
    }
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const RowStats& row = stats[e / 2];
        const float whole = exp2_approx(fmaf(p[n][e], common.scale * kLog2e, -row.x));
        ds[n][e] = whole * fmaf(ds[n][e], common.dropout.scale, -row.y);
      }
#pragma unroll
    for (int k = 0; k < kStep / 16; ++k) {
      Registers4 a;
      as_left(a, ds, k);
      times_columns<kDim>(dq, a, s.k[stage], 16 * k);
    }
    if (summing) sums.add(ds, j0 - i0, 1);
  }
  cp_async_wait<0>();
  if (rows > 0) {
    write_rows<kDim>(args.dq, seq.q0 + i0, column, rows, dq, common.scale, common.scale, common, args.accumulate);
  }
  if (!summing) return;
  sums.finish();
  __syncthreads();
  for (int i = thread_id(); i < length; i += S::kThreads) {
    for (int w = 1; w < S::kWarps; ++w) lines[i] += lines[w * length + i];
  }
  __syncthreads();
  write_bucket_shares(args.partial_of(slot_of(work.sequence, seq, first), h), lines, reach, common.bias,
                      1 - first - block_rows, total - 1 - first);
}

template <class S>
void run(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const WorkList& list) {
  if (list.capacity == 0) return;
  const Bias& bias = args.common.bias;
  const int capacity = 2 * (bias.reach + S::kMargin) + 1;
  std::size_t floats = 0;
  if (bias.present()) floats += static_cast<std::size_t>(BiasWindow::floats(capacity));
  if (args.partial != nullptr) floats += static_cast<std::size_t>(S::kWarps * S::Sums::line_floats(bias.reach));
  launch(queries_kernel<S>, list.capacity * args.common.heads, dim3(S::kThreads),
         sizeof(Shared<S>) + floats * sizeof(float), ctx.stream(), args, list, capacity);
}

}  // namespace

template <int kDim>
void mma_backward_queries(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const BackwardLists& lists) {
  run<Shape<kDim>>(ctx, args, lists.queries);
}

template void mma_backward_queries<32>(CudaContext&, const BackwardArgs<bfloat16>&, const BackwardLists&);
template void mma_backward_queries<64>(CudaContext&, const BackwardArgs<bfloat16>&, const BackwardLists&);
template void mma_backward_queries<128>(CudaContext&, const BackwardArgs<bfloat16>&, const BackwardLists&);

}  // namespace galrec::attention_cuda
