#include "kernels/csr/csr.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace galrec {

namespace {

// starts[k] = number of keys below k, for keys in [0, n): n + 1 elements.
std::vector<std::int32_t> count_starts(std::int32_t n, View<const std::int32_t, 1> keys) {
  std::vector<std::int32_t> starts(static_cast<std::size_t>(n) + 1, 0);
  for (std::int64_t e = 0; e < keys.extent(0); ++e) ++starts[static_cast<std::size_t>(keys[e]) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  return starts;
}

// Drops repeats from the ascending rows, in place.
void merge_duplicates(Csr& graph) {
  std::int32_t kept = 0;
  for (std::size_t r = 0; r < static_cast<std::size_t>(graph.rows); ++r) {
    const auto begin = graph.col_idx.begin() + graph.row_ptr[r];
    const auto end = std::unique(begin, graph.col_idx.begin() + graph.row_ptr[r + 1]);
    graph.row_ptr[r] = kept;
    kept = static_cast<std::int32_t>(std::move(begin, end, graph.col_idx.begin() + kept) - graph.col_idx.begin());
  }
  graph.row_ptr[static_cast<std::size_t>(graph.rows)] = kept;
  graph.col_idx.resize(static_cast<std::size_t>(kept));
}

}  // namespace

// Two stable counting sorts, by destination and then by source: O(edges + rows + cols), no comparisons.
Csr csr_build(CpuContext&, std::int32_t rows, std::int32_t cols, View<const std::int32_t, 1> src,
              View<const std::int32_t, 1> dst, DuplicateEdges duplicates) {
  const std::int64_t edges = src.extent(0);
  GALREC_CHECK(rows >= 0 && cols >= 0, "({}, {}) nodes", rows, cols);
  GALREC_CHECK(dst.extent(0) == edges, "{} sources, {} destinations", edges, dst.extent(0));
  GALREC_CHECK(edges <= std::numeric_limits<std::int32_t>::max(), "{} edges", edges);
  for (std::int64_t e = 0; e < edges; ++e) {
    GALREC_CHECK(src[e] >= 0 && src[e] < rows && dst[e] >= 0 && dst[e] < cols, "edge {}: ({}, {}) is outside ({}, {})",
                 e, src[e], dst[e], rows, cols);
  }
  std::vector<std::int32_t> by_dst(static_cast<std::size_t>(edges));
  auto next = count_starts(cols, dst);
  for (std::int64_t e = 0; e < edges; ++e) {
    by_dst[static_cast<std::size_t>(next[static_cast<std::size_t>(dst[e])]++)] = static_cast<std::int32_t>(e);
  }
  Csr out{.rows = rows, .cols = cols, .row_ptr = count_starts(rows, src), .col_idx = {}};
  out.col_idx.resize(static_cast<std::size_t>(edges));
  next = out.row_ptr;
  for (const std::int32_t e : by_dst) {
    out.col_idx[static_cast<std::size_t>(next[static_cast<std::size_t>(src[e])]++)] = dst[e];
  }
  if (duplicates == DuplicateEdges::kMerge) merge_duplicates(out);
  return out;
}

// One counting sort: visiting the rows in order leaves every new row ascending.
Csr csr_transpose(CpuContext&, const Csr& a) {
  Csr out{.rows = a.cols, .cols = a.rows, .row_ptr = count_starts(a.cols, view_of(a.col_idx)), .col_idx = {}};
  out.col_idx.resize(a.col_idx.size());
  auto next = out.row_ptr;
  for (std::int32_t r = 0; r < a.rows; ++r) {
    for (std::int32_t e = a.row_ptr[static_cast<std::size_t>(r)]; e < a.row_ptr[static_cast<std::size_t>(r) + 1]; ++e) {
      const auto col = static_cast<std::size_t>(a.col_idx[static_cast<std::size_t>(e)]);
      out.col_idx[static_cast<std::size_t>(next[col]++)] = r;
    }
  }
  return out;
}

DeviceCsr csr_upload(MemoryResource& memory, const Csr& graph) {
  return {.rows = graph.rows,
          .cols = graph.cols,
          .row_ptr = Buffer<std::int32_t>(std::span<const std::int32_t>(graph.row_ptr), memory),
          .col_idx = Buffer<std::int32_t>(std::span<const std::int32_t>(graph.col_idx), memory)};
}

}  // namespace galrec
