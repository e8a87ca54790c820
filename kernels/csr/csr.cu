// Neighbour sampling on the device: count, scan, draw.

#include "kernels/csr/csr.h"

#include <limits>

#include "kernels/common/block_scan.h"
#include "kernels/common/device_status.h"
#include "kernels/common/launch.h"
#include "kernels/csr/sample_one.h"

namespace galrec {

namespace {

constexpr int kBlockNodes = 256;  // nodes, and threads, of a block that counts
constexpr int kScanThreads = 1024;
constexpr int kDrawThreads = 64;
constexpr int kPickPitch = kDrawThreads + 4;  // four nodes' slots 0 to 7 lie in different banks

/// within[n + 1]: the counts of the block's nodes up to n, summed; totals: the block's sum.
__global__ void count_neighbors(std::int32_t* within, int* totals, SampleProblem problem, std::int64_t n,
                                std::int32_t rows, DeviceStatus* status) {
  auto& s = block_shared<BlockScratch<int>>();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlockNodes + thread_id();
  int count = 0;
  if (i < n) {
    const std::int32_t node = problem.nodes[i];
    if (node >= 0 && node < rows) {
      count = problem.count(i);
    } else {
      report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kSampling, node, rows);
    }
  }
  const auto [before, total] = block_exclusive_scan(count, s);
  if (i < n) within[i + 1] = before + count;
  if (thread_id() == 0) totals[blockIdx.x] = total;
}

/// Exclusive prefix sums in place; one block.
__global__ void __launch_bounds__(kScanThreads) scan_totals(int* totals, std::int64_t n) {
  auto& s = block_shared<BlockScratch<int>>();
  int carry = 0;
  for (std::int64_t first = 0; first < n; first += kScanThreads) {
    const std::int64_t i = first + thread_id();
    const auto [before, total] = block_exclusive_scan(i < n ? totals[i] : 0, s);
    if (i < n) totals[i] = carry + before;
    carry += total;
  }
}

struct DrawShared {
  std::int32_t picked[kMaxFanout][kPickPitch];  // a column a thread
  std::int32_t end[kDrawThreads];               // of each thread's items among its warp's
};

/// A thread a node: where its neighbours go, then the draw. A node out of range was counted as none. What a warp has picked
/// is copied by all its lanes together, since it goes to neighbouring places.
__global__ void __launch_bounds__(kDrawThreads) draw_neighbors(std::int32_t* ptr, std::int32_t* items, const std::int32_t* within,
                                                               const int* totals, SampleProblem problem, std::int64_t n) {
  auto& s = block_shared<DrawShared>();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kDrawThreads + thread_id();
  const std::int64_t warp_node = i - lane_id();
  if (warp_node >= n) return;
  const int base = totals[warp_node / kBlockNodes];
  const int warp_begin = warp_node % kBlockNodes == 0 ? 0 : within[warp_node];
  const int after = within[min(i + 1, n)];
  int before = __shfl_up_sync(kFullMask, after, 1);
  if (lane_id() == 0) before = warp_begin;
  if (i < n) ptr[i + 1] = base + after;
  if (i == 0) ptr[0] = 0;
  if (after > before) problem.pick(i, after - before, {&s.picked[0][thread_id()], kPickPitch});
  s.end[thread_id()] = after - warp_begin;
  __syncwarp();

  const std::int32_t* ends = s.end + thread_id() - lane_id();
  std::int32_t* out = items + base + warp_begin;
  for (int at = lane_id(); at < ends[kWarpSize - 1]; at += kWarpSize) {
    int owner = 0;  // the first lane whose items end behind this place
#pragma unroll
    for (int step = kWarpSize / 2; step > 0; step /= 2) owner += ends[owner + step - 1] <= at ? step : 0;
    const int slot = at - (owner > 0 ? ends[owner - 1] : 0);
    out[at] = problem.col_idx[s.picked[slot][thread_id() - lane_id() + owner]];
  }
}

}  // namespace

void csr_sample(CudaContext& ctx, View<std::int32_t, 1> ptr, View<std::int32_t, 1> items, const DeviceCsr& graph,
                View<const std::int32_t, 1> nodes, View<const std::int64_t, 1> draw_ids,
                View<const std::int32_t, 1> exclude, const SampleOptions& options) {
  const std::int64_t n = nodes.extent(0);
  GALREC_CHECK(options.fanout >= 1 && options.fanout <= kMaxFanout, "fanout {} is not in [1, {}]", options.fanout,
               kMaxFanout);
  GALREC_CHECK(draw_ids.extent(0) == n && exclude.extent(0) == n, "{} draw ids, {} exclusions for {} nodes",
               draw_ids.extent(0), exclude.extent(0), n);
  GALREC_CHECK(n <= std::numeric_limits<std::int32_t>::max() / options.fanout, "{} nodes of fanout {}", n,
               options.fanout);
  GALREC_CHECK(ptr.extent(0) == n + 1 && items.extent(0) >= n * options.fanout,
               "ptr ({}), items ({}) for {} nodes of fanout {}", ptr.extent(0), items.extent(0), n, options.fanout);
  if (n == 0) {
    ctx.memory().clear(ptr.data, sizeof(std::int32_t));
    return;
  }
  ScratchScope scratch(ctx.scratch());
  const std::int64_t groups = (n + kBlockNodes - 1) / kBlockNodes;
  const auto totals = scratch->vector<int>(groups);
  const auto within = scratch->vector<std::int32_t>(n + 1);
  const SampleProblem problem{graph.row_ptr.data(), graph.col_idx.data(), nodes.data, exclude.data,
                              draw_ids.data,        options.fanout,       options.key};
  launch(count_neighbors, groups, kBlockNodes, sizeof(BlockScratch<int>), ctx.stream(), within.data, totals.data,
         problem, n, graph.rows, ctx.status());
  launch(scan_totals, 1, kScanThreads, sizeof(BlockScratch<int>), ctx.stream(), totals.data, groups);
  launch(draw_neighbors, (n + kDrawThreads - 1) / kDrawThreads, kDrawThreads,
         sizeof(DrawShared), ctx.stream(), ptr.data, items.data, within.data, totals.data, problem, n);
}

}  // namespace galrec
