#pragma once
// Compressed sparse rows: building them from edges, transposing, and sampling neighbours without replacement.
//
// Math      row r's neighbours are col_idx[row_ptr[r] .. row_ptr[r+1]), ascending, duplicates kept only if asked
//           sample: min(fanout, candidates) distinct neighbours of each node, uniformly, in ascending order
//           (distinct edges: with duplicates kept, a neighbour may come as often as it is listed)
// Shapes    src, dst (E) int32 | row_ptr (R+1), col_idx (E) int32 | nodes, exclude (N) int32 | out_ptr (N+1), out (<= N*fanout)
// Backward  -
// Saved and aliasing  -
// Numerics and determinism  a sample is a pure function of (key, draw id of the node, slot): Floyd's algorithm over Philox
//           numbers, never of the thread or the batch; what is done to a node is one source (sample_one.h) for CPU and GPU,
//           bit-equal on both. Block of (draw id n, slot s): n * 64 + s, so fanout <= 64.
// Launch    building and transposing: two serial counting sorts; sampling: Thrust transform, scan, for_each on the context's
//           threads
//           CUDA: sampling only: counts and their sums per 256 nodes, one block that scans the sums, then a thread a node that
//           draws, its picks in shared memory (18 KB), from where a warp copies what its 32 nodes got. Kernels of our own rather
//           than Thrust: its scan would allocate and wait for the host, and on the executor it would leave the device's memory to
//           OpenMP threads that nothing watches. Looks for the excluded neighbour in each row: a gather, whose sectors are used in
//           part.
// Reference Floyd (Bentley 1987); Hamilton et al. 2017 (neighbour sampling)

#include <vector>

#include "kernels/common/context.h"
#include "kernels/common/philox.h"
#include "kernels/common/view.h"

namespace galrec {

/// Owning CSR of int32 in host memory.
struct Csr {
  std::int32_t rows = 0;
  std::int32_t cols = 0;
  std::vector<std::int32_t> row_ptr;  // (rows+1)
  std::vector<std::int32_t> col_idx;  // (nnz)

  std::int32_t degree(std::int32_t r) const { return row_ptr[r + 1] - row_ptr[r]; }
};

enum class DuplicateEdges { kKeep, kMerge };

/// Sorts edges by (src, dst). CheckError for an endpoint out of range.
Csr csr_build(CpuContext& ctx, std::int32_t rows, std::int32_t cols, View<const std::int32_t, 1> src,
              View<const std::int32_t, 1> dst, DuplicateEdges duplicates);
Csr csr_transpose(CpuContext& ctx, const Csr& a);

/// Result of sampling: neighbours of nodes[n] are items[ptr[n] .. ptr[n+1]).
struct SampledNeighbors {
  std::vector<std::int32_t> ptr;    // (N+1)
  std::vector<std::int32_t> items;
};

struct SampleOptions {
  std::int32_t fanout = 8;  // 1 to 64
  PhiloxKey key{};
};

/// `draw_ids` (N) names each draw for the random numbers (pass the sample's index so that the same node drawn for two
/// samples differs); `exclude` (N) is a neighbour never returned, -1 for none.
void csr_sample(CpuContext& ctx, SampledNeighbors& out, const Csr& graph, View<const std::int32_t, 1> nodes,
                View<const std::int64_t, 1> draw_ids, View<const std::int32_t, 1> exclude, const SampleOptions& options);

/// A graph in the memory of a context.
struct DeviceCsr {
  std::int32_t rows = 0;
  std::int32_t cols = 0;
  Buffer<std::int32_t> row_ptr;  // (rows+1)
  Buffer<std::int32_t> col_idx;  // (nnz)
};
DeviceCsr csr_upload(MemoryResource& memory, const Csr& graph);

/// Everything in device memory; the same bits as the CPU's. The host learns no length: items holds ptr[N] neighbours, what lies
/// behind them stays as it was. A node out of range is reported (CheckError at the next synchronize()) and gets no neighbours.
void csr_sample(CudaContext& ctx,
                View<std::int32_t, 1> ptr,    // (N+1)
                View<std::int32_t, 1> items,  // (N fanout) or more
                const DeviceCsr& graph,
                View<const std::int32_t, 1> nodes,     // (N)
                View<const std::int64_t, 1> draw_ids,  // (N)
                View<const std::int32_t, 1> exclude,   // (N)
                const SampleOptions& options);

}  // namespace galrec
