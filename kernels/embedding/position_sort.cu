// Radix sort of (id, position), stable: each pass counts the digits of fixed tiles, scans the counts, and scatters.

#include <bit>
#include <utility>

#include "kernels/common/block_scan.h"
#include "kernels/common/device_status.h"
#include "kernels/common/launch.h"
#include "kernels/embedding/position_sort_device.h"

namespace galrec {

namespace {

constexpr int kDigitBits = 9;  // two passes up to 262,143 ids
constexpr int kDigits = 1 << kDigitBits;
constexpr int kTile = 4096;  // keys of a block
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kWarpKeys = kTile / kWarps;  // consecutive, so that ranks within a warp follow the order of the keys
constexpr int kScanThreads = 1024;

/// The first pass makes the keys.
struct FromIds {
  const std::int32_t* ids;
  std::int64_t rows;
  DeviceStatus* status;

  __device__ PositionKey operator()(std::int64_t i) const {
    std::int64_t id = ids[i];
    if (id < 0 || id >= rows) {
      report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kEmbedding, id, rows);
      id = rows;
    }
    return static_cast<PositionKey>(id) << 32 | static_cast<PositionKey>(i);
  }
};
struct FromKeys {
  const PositionKey* keys;
  __device__ PositionKey operator()(std::int64_t i) const { return keys[i]; }
};

__device__ __forceinline__ int digit_of(PositionKey key, int shift) {
  return static_cast<int>(key >> shift) & (kDigits - 1);
}

/// counts[digit][tile] of each tile's keys.
template <class Source>
__global__ void count_digits(int* counts, Source source, std::int64_t n, int shift) {
  struct Shared {
    int count[kDigits];
  };
  auto& s = block_shared<Shared>();
  for (int d = thread_id(); d < kDigits; d += kThreads) s.count[d] = 0;
  __syncthreads();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kTile, end = min(n, first + kTile);
  for (std::int64_t i = first + thread_id(); i < end; i += kThreads) atomicAdd(&s.count[digit_of(source(i), shift)], 1);
  __syncthreads();
  for (int d = thread_id(); d < kDigits; d += kThreads)
    counts[static_cast<std::int64_t>(d) * gridDim.x + blockIdx.x] = s.count[d];
}

/// Exclusive prefix sums in place; one block, four counts a thread. n is a multiple of 4.
__global__ void scan_counts(int* counts, std::int64_t n) {
  auto& s = block_shared<BlockScratch<int>>();
  int carry = 0;
  for (std::int64_t first = 0; first < n; first += 4 * kScanThreads) {
    const std::int64_t i = first + 4 * thread_id();
    const int4 c = i < n ? *reinterpret_cast<const int4*>(counts + i) : make_int4(0, 0, 0, 0);
    const auto [before, total] = block_exclusive_scan(c.x + c.y + c.z + c.w, s);
    const int at = carry + before;
    if (i < n) *reinterpret_cast<int4*>(counts + i) = make_int4(at, at + c.x, at + c.x + c.y, at + c.x + c.y + c.z);
    carry += total;
  }
}

/// Moves each key behind the equal digits before it. `starts` are the scanned counts.
template <class Source>
__global__ void scatter_keys(PositionKey* out, Source source, const int* starts, std::int64_t n, int shift) {
  struct Shared {
    int next[kWarps][kDigits];
  };
  auto& s = block_shared<Shared>();
  for (int d = thread_id(); d < kWarps * kDigits; d += kThreads) s.next[d / kDigits][d % kDigits] = 0;
  __syncthreads();
  int(&next)[kDigits] = s.next[warp_id()];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kTile + warp_id() * kWarpKeys,
                     end = min(n, first + kWarpKeys);
  for (std::int64_t i = first + lane_id(); i < end; i += kWarpSize) atomicAdd(&next[digit_of(source(i), shift)], 1);
  __syncthreads();
  // From counts of the warps to where each warp's first key of a digit goes.
  for (int d = thread_id(); d < kDigits; d += kThreads) {
    int at = starts[static_cast<std::int64_t>(d) * gridDim.x + blockIdx.x];
    for (int w = 0; w < kWarps; ++w) {
      const int count = s.next[w][d];
      s.next[w][d] = at;
      at += count;
    }
  }
  __syncthreads();
  for (std::int64_t round = first; round < end; round += kWarpSize) {
    const std::int64_t i = round + lane_id();
    const bool valid = i < end;
    const PositionKey key = valid ? source(i) : 0;
    const int digit = valid ? digit_of(key, shift) : kDigits;
    const unsigned equal = __match_any_sync(kFullMask, digit);
    const int rank = __popc(equal & ((1u << lane_id()) - 1));
    const int at = valid ? next[digit] + rank : 0;
    __syncwarp();
    if (valid && rank == 0) next[digit] += __popc(equal);
    __syncwarp();
    if (valid) out[at] = key;
  }
}

template <class Source>
void run_pass(CudaContext& ctx, PositionKey* out, const Source& source, View<int, 1> counts, std::int64_t n,
              int shift) {
  const std::int64_t tiles = (n + kTile - 1) / kTile;
  launch(count_digits<Source>, tiles, kThreads, kDigits * sizeof(int), ctx.stream(), counts.data, source, n, shift);
  launch(scan_counts, 1, kScanThreads, sizeof(BlockScratch<int>), ctx.stream(), counts.data, counts.extent(0));
  launch(scatter_keys<Source>, tiles, kThreads, kWarps * kDigits * sizeof(int), ctx.stream(), out, source, counts.data,
         n, shift);
}

}  // namespace

View<const PositionKey, 1> sort_positions(CudaContext& ctx, Arena& scratch, View<const std::int32_t, 1> ids,
                                          std::int64_t rows) {
  const std::int64_t n = ids.extent(0);
  GALREC_CHECK(n <= 0x7fffffff && rows <= 0x7fffffff, "{} positions, {} rows", n, rows);
  auto keys = scratch.vector<PositionKey>(n), other = scratch.vector<PositionKey>(n);
  const auto counts = scratch.vector<int>((n + kTile - 1) / kTile * kDigits);
  const int bits = std::bit_width(static_cast<std::uint64_t>(rows));  // `rows` itself stands for bad ids
  run_pass(ctx, keys.data, FromIds{ids.data, rows, ctx.status()}, counts, n, 32);
  for (int done = kDigitBits; done < bits; done += kDigitBits) {
    run_pass(ctx, other.data, FromKeys{keys.data}, counts, n, 32 + done);
    std::swap(keys, other);
  }
  return keys;
}

}  // namespace galrec
