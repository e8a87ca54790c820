#include "kernels/attention/attention_passes_device.h"

#include "kernels/common/launch.h"
#include "kernels/common/rows_device.h"

namespace galrec::attention_cuda {

namespace {

constexpr int kLanes = 8, kThreads = 256, kRowsPerBlock = kThreads / kLanes;

/// Eight lanes per (query, head), a block for 32 queries of one head: whole sectors in and out.
template <class T, int Width>
__global__ void __launch_bounds__(kThreads)
    row_stats_kernel(RowStats* stats, Common common, std::int64_t tq, Rows<const T> dout, Rows<const T> o,
                     Rows<const float> lse) {
  const int h = static_cast<int>(blockIdx.x % static_cast<unsigned>(common.heads)), lane = thread_id() % kLanes;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x / static_cast<unsigned>(common.heads)) * kRowsPerBlock +
                           thread_id() / kLanes;
  float sum = 0;
  if (row < tq) {
    const T *a = dout.row(row) + h * common.dim, *b = o.row(row) + h * common.dim;
    for (int d = lane * Width; d < common.dim; d += kLanes * Width) {
      float x[Width], y[Width];
      load_floats(a + d, x);
      load_floats(b + d, y);
#pragma unroll
      for (int i = 0; i < Width; ++i) sum += x[i] * y[i];
    }
  }
  sum = warp_sum<kLanes>(sum);
  if (row < tq && lane == 0) store_whole(stats + h * tq + row, make_float2(lse.row(row)[h] * kLog2e, sum));
}

constexpr int kReduceWarps = 8;
struct ReduceShared {
  float sum[kReduceWarps][kWarpSize];
};

/// A block for one head and 32 buckets: warp w adds slots w, w + 8, …, then warps are added in order.
__global__ void __launch_bounds__(kReduceWarps* kWarpSize)
    reduce_table_kernel(Rows<float> dtable, const float* partial, std::int64_t slots, int heads, int buckets,
                        Accumulate accumulate) {
  auto& s = block_shared<ReduceShared>();
  const int h = static_cast<int>(blockIdx.x), lane = lane_id(), warp = warp_id(),
            bucket = static_cast<int>(blockIdx.y) * kWarpSize + lane;
  float sum = 0;
  if (bucket < buckets) {
    for (std::int64_t slot = warp; slot < slots; slot += kReduceWarps)
      sum += partial[(slot * heads + h) * buckets + bucket];
  }
  s.sum[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || bucket >= buckets) return;
  for (int w = 1; w < kReduceWarps; ++w) sum += s.sum[w][lane];
  float* to = dtable.row(bucket) + h;
  *to = accumulate == Accumulate::kAdd ? *to + sum : sum;
}

}  // namespace

template <class T>
void row_stats(CudaContext& ctx, RowStats* stats, const Common& common, std::int64_t tq, Rows<const T> dout,
               Rows<const T> o, Rows<const float> lse) {
  const std::int64_t blocks = (tq + kRowsPerBlock - 1) / kRowsPerBlock * common.heads;
  const auto kernel = common.access == Access::kVector ? row_stats_kernel<T, kRowWidth<T>> : row_stats_kernel<T, 1>;
  launch(kernel, blocks, dim3(kThreads), 0, ctx.stream(), stats, common, tq, dout, o, lse);
}

void reduce_table(CudaContext& ctx, View<float, 2> dtable, const float* partial, std::int64_t slots,
                  Accumulate accumulate) {
  const auto heads = static_cast<unsigned>(dtable.cols()), buckets = static_cast<unsigned>(dtable.rows());
  launch(reduce_table_kernel, dim3(heads, (buckets + kWarpSize - 1) / kWarpSize), dim3(kReduceWarps * kWarpSize),
         sizeof(ReduceShared), ctx.stream(), rows_of(dtable), partial, slots, static_cast<int>(heads),
         static_cast<int>(buckets), accumulate);
}

template void row_stats<float>(CudaContext&, RowStats*, const Common&, std::int64_t, Rows<const float>,
                               Rows<const float>, Rows<const float>);
template void row_stats<bfloat16>(CudaContext&, RowStats*, const Common&, std::int64_t, Rows<const bfloat16>,
                                  Rows<const bfloat16>, Rows<const float>);

}  // namespace galrec::attention_cuda
