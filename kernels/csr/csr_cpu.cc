#include "kernels/csr/csr.h"

#include <algorithm>

namespace galrec {

Csr csr_build(CpuContext&, std::int32_t rows, std::int32_t cols, View<const std::int32_t, 1> src, View<const std::int32_t, 1> dst, DuplicateEdges duplicates) {
  const std::int64_t edges = src.extent(0);
  GALREC_CHECK(rows >= 0 && cols >= 0 && dst.extent(0) == edges, "{} sources, {} destinations", edges, dst.extent(0));
  Csr out{.rows = rows, .cols = cols, .row_ptr = std::vector<std::int32_t>(static_cast<std::size_t>(rows) + 1, 0),
          .col_idx = std::vector<std::int32_t>(static_cast<std::size_t>(edges))};
  for (std::int64_t e = 0; e < edges; ++e) {
    GALREC_CHECK(src[e] >= 0 && src[e] < rows && dst[e] >= 0 && dst[e] < cols, "edge {}: ({}, {}) is outside ({}, {})", e, src[e], dst[e], rows, cols);
    ++out.row_ptr[static_cast<std::size_t>(src[e]) + 1];
  }
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) out.row_ptr[r + 1] += out.row_ptr[r];
  std::vector<std::int32_t> next(out.row_ptr.begin(), out.row_ptr.end() - 1);
  for (std::int64_t e = 0; e < edges; ++e) out.col_idx[static_cast<std::size_t>(next[static_cast<std::size_t>(src[e])]++)] = dst[e];
  std::int32_t kept = 0;
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    auto* begin = out.col_idx.data() + out.row_ptr[r];
    auto* end = out.col_idx.data() + out.row_ptr[r + 1];
    std::sort(begin, end);
    if (duplicates == DuplicateEdges::kMerge) end = std::unique(begin, end);
    out.row_ptr[r] = kept;
    kept = static_cast<std::int32_t>(std::move(begin, end, out.col_idx.data() + kept) - out.col_idx.data());
  }
  out.row_ptr[static_cast<std::size_t>(rows)] = kept;
  out.col_idx.resize(static_cast<std::size_t>(kept));
  return out;
}

Csr csr_transpose(CpuContext& ctx, const Csr& a) {
  std::vector<std::int32_t> rows(a.col_idx.size());
  for (std::int32_t r = 0; r < a.rows; ++r)
    std::fill(rows.begin() + a.row_ptr[static_cast<std::size_t>(r)], rows.begin() + a.row_ptr[static_cast<std::size_t>(r) + 1], r);
  return csr_build(ctx, a.cols, a.rows, view_of(a.col_idx), view_of(std::as_const(rows)), DuplicateEdges::kKeep);
}

}  // namespace galrec
