#include "kernels/attention/attention_list_device.h"

#include <algorithm>

#include "kernels/common/device_status.h"
#include "kernels/common/launch.h"

namespace galrec::attention_cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kBins = 64, kBinRows = 64;  // cost of an item: the length of what it walks over, in bins of 64

struct Building {
  ListRequest request;
  WorkItem* items;
  int* count;
};
struct Buildings {
  Building at[kMaxLists];
};

struct Shared {
  int cursor[kWarps][kBins];  // items counted, then the next free place
  int total[kBins];
};

/// What one sequence puts into a list.
struct Entry {
  int items = 0, bin = 0;
};

struct Lengths {
  int queries = 0, keys = 0;
};

__device__ Lengths checked_lengths(const Common& common, const Extents& extents, int b) {
  const int q0 = common.cu_q[b], q1 = common.cu_q[b + 1], k0 = common.cu_k[b], k1 = common.cu_k[b + 1];
  const bool good =
      q0 >= 0 && q0 <= q1 && q1 <= extents.tq && k0 >= 0 && k0 <= k1 && k1 <= extents.tk && k1 - k0 <= kMaskRow;
  return good ? Lengths{q1 - q0, k1 - k0} : Lengths{};
}

__device__ Entry entry_of(const ListRequest& request, const Lengths& n) {
  const int longer = max(n.queries, n.keys);
  if (longer < request.shortest || longer > request.longest) return {};
  if (longer >= request.skip_from && longer <= request.skip_to) return {};
  const int rows = request.side == Side::kKeys ? n.keys : n.queries,
            across = request.side == Side::kKeys ? n.queries : n.keys;
  const int cost = request.side == Side::kWhole ? longer : across;
  return {request.side == Side::kWhole ? 1 : (rows + request.tile - 1) / request.tile, min(cost / kBinRows, kBins - 1)};
}

__device__ void report_offsets(const Common& common, const Extents& extents, DeviceStatus* status) {
  const int batch = static_cast<int>(extents.batch);
  const auto report = [&](long long value, long long limit) {
    report_fault(status, DeviceFault::kOffsetsOutOfOrder, DeviceOperation::kAttention, value, limit);
  };
  if (thread_id() == 0) {
    if (common.cu_q[0] != 0) report(common.cu_q[0], 1);
    if (common.cu_k[0] != 0) report(common.cu_k[0], 1);
    if (common.cu_q[batch] != extents.tq) report(common.cu_q[batch], extents.tq + 1);
    if (common.cu_k[batch] != extents.tk) report(common.cu_k[batch], extents.tk + 1);
  }
  for (int b = thread_id(); b < batch; b += kThreads) {
    const Sequence s = common.sequence(b);
    if (s.queries < 0) report(s.q0, common.cu_q[b + 1] + 1LL);
    if (s.keys < 0) report(s.k0, common.cu_k[b + 1] + 1LL);
    if (s.keys > kMaskRow) report(s.keys, kMaskRow + 1);
  }
}

/// One block per list: a stable counting sort by descending cost. Each warp takes consecutive sequences, 32 at a time.
__global__ void __launch_bounds__(kThreads)
    build_lists_kernel(Buildings buildings, Common common, Extents extents, DeviceStatus* status) {
  auto& s = block_shared<Shared>();
  const Building& building = buildings.at[blockIdx.x];
  const int lane = lane_id(), warp = warp_id(), batch = static_cast<int>(extents.batch);
  const int chunks = (batch + kWarpSize - 1) / kWarpSize, mine = (chunks + kWarps - 1) / kWarps;
  const int begin = min(warp * mine, chunks), end = min(begin + mine, chunks);
  if (blockIdx.x == 0) report_offsets(common, extents, status);
  for (int bin = lane; bin < kBins; bin += kWarpSize) s.cursor[warp][bin] = 0;
  __syncwarp();

  // Calls place(b, items, position) for the chunk's sequences and moves the cursors on.
  const auto walk = [&](auto place) {
    for (int chunk = begin; chunk < end; ++chunk) {
      const int b = chunk * kWarpSize + lane;
      const Entry e = b < batch ? entry_of(building.request, checked_lengths(common, extents, b)) : Entry{};
      int before = 0, together = 0;  // items of the same bin in lower lanes, and in all
      for (int other = 0; other < kWarpSize; ++other) {
        const int bin = __shfl_sync(kFullMask, e.bin, other), items = __shfl_sync(kFullMask, e.items, other);
        if (bin != e.bin) continue;
        together += items;
        if (other < lane) before += items;
      }
      const int at = s.cursor[warp][e.bin];
      __syncwarp();
      place(b, e.items, at + before);
      if (e.items > 0 && before == 0) s.cursor[warp][e.bin] = at + together;
      __syncwarp();
    }
  };
  walk([](int, int, int) {});
  __syncthreads();
  for (int bin = thread_id(); bin < kBins; bin += kThreads) {
    int total = 0;
    for (int w = 0; w < kWarps; ++w) total += s.cursor[w][bin];
    s.total[bin] = total;
  }
  __syncthreads();
  for (int bin = thread_id(); bin < kBins; bin += kThreads) {
    int at = 0;
    for (int costlier = kBins - 1; costlier > bin; --costlier) at += s.total[costlier];
    for (int w = 0; w < kWarps; ++w) {
      const int count = s.cursor[w][bin];
      s.cursor[w][bin] = at;
      at += count;
    }
    if (bin == 0) *building.count = at;
  }
  __syncthreads();
  walk([&](int b, int items, int at) {
    for (int i = 0; i < items; ++i) building.items[at + i] = {b, i * building.request.tile};
  });
}

/// The most items that a request can lead to.
std::int64_t capacity_of(const ListRequest& r, const Extents& e) {
  const std::int64_t by_length = e.tq / r.shortest + e.tk / r.shortest, sequences = std::min(e.batch, by_length);
  if (r.side == Side::kWhole) return sequences;
  const std::int64_t rows = r.side == Side::kKeys ? e.tk : e.tq;
  return std::min(rows, rows / r.tile + sequences);
}

}  // namespace

void build_lists(CudaContext& ctx, Arena& scratch, const Common& common, const Extents& extents,
                 const ListRequest* requests, int count, WorkList* lists) {
  GALREC_CHECK(count <= kMaxLists && extents.batch < (1 << 30), "{} lists of {} sequences", count, extents.batch);
  Buildings buildings{};  // what no list takes is zero too: equal calls have equal arguments
  int* counts = scratch.alloc<int>(count);
  for (int i = 0; i < count; ++i) {
    const std::int64_t capacity = capacity_of(requests[i], extents);
    auto* items = scratch.alloc<WorkItem>(std::max<std::int64_t>(capacity, 1));
    buildings.at[i] = {requests[i], items, counts + i};
    lists[i] = {items, counts + i, capacity, requests[i].tile};
  }
  launch(build_lists_kernel, count, dim3(kThreads), sizeof(Shared), ctx.stream(), buildings, common, extents,
         ctx.status());
}

}  // namespace galrec::attention_cuda
