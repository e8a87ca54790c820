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
constexpr int kDrawThreads = 64;  // 16 KB of picks

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

/// A thread a node: where its neighbours go, then the draw. A node out of range was counted as none.
__global__ void draw_neighbors(std::int32_t* ptr, std::int32_t* items, const std::int32_t* within, const int* totals,
                               SampleProblem problem, std::int64_t n) {
  struct Shared {
    std::int32_t picked[kMaxFanout][kDrawThreads];  // a column a thread: no bank conflicts
  };
  auto& s = block_shared<Shared>();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kDrawThreads + thread_id();
  if (i >= n) return;
  const std::int64_t group = i / kBlockNodes;
  const int base = totals[group], before = i % kBlockNodes == 0 ? 0 : within[i], after = within[i + 1];
  ptr[i + 1] = base + after;
  if (i == 0) ptr[0] = 0;
  if (after > before) problem.draw(i, items + base + before, after - before, {&s.picked[0][thread_id()], kDrawThreads});
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
         kMaxFanout * kDrawThreads * sizeof(std::int32_t), ctx.stream(), ptr.data, items.data, within.data, totals.data,
         problem, n);
}

}  // namespace galrec
