#include "kernels/spmm/spmm.h"

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/common/simd.h"

namespace galrec {

namespace {

constexpr std::int64_t kBlockWork = 4096;  // rows plus edges of a block; fixed, so blocks do not know the threads
constexpr std::int64_t kAhead = 12;        // neighbours whose rows are fetched in advance

// First row of block b: rows are cut where (rows + edges so far) pass b * kBlockWork.
std::int64_t block_start(const std::int32_t* row_ptr, std::int64_t rows, std::int64_t b) {
  std::int64_t low = 0, high = rows;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (row_ptr[middle] + middle < b * kBlockWork) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Whether an edge's row of x is read at all: gradients of a batch are zero in most rows.
enum class Sources { kAll, kUsed };

template <class T>
struct Rows {
  const std::int32_t *row_ptr, *col_idx;
  View<const T, 2> x;
  const T* in_scale;
  std::int64_t last_edge;
  const std::uint8_t* used = nullptr;  // null: every row of x

  // Where an edge is used: a pass of its own took a twelfth of LightGCN's epoch on Beauty.
  void check_column(std::int64_t e) const {
    const auto column = static_cast<std::uint32_t>(col_idx[e]);
    GALREC_CHECK(column < static_cast<std::uint64_t>(x.rows()), "edge {} has column {}, expected [0, {})", e, col_idx[e], x.rows());
  }

  // out[0 .. kVectors lanes) = sum of in_scale_c x_c over row r, from column `first` on, in registers throughout.
  template <int kVectors, bool kScaled, Sources kSources>
  void gather(T* out, std::int64_t r, std::int64_t first) const {
    constexpr int kLanes = simd::kLanes<T>;
    simd::Vec<T> sum[kVectors] = {};
    const T* base = x.data + first;
    const std::int64_t end = row_ptr[r + 1], stride = x.stride[0];
    for (std::int64_t e = row_ptr[r]; e < end; ++e) {
      check_column(e);
      if constexpr (kSources == Sources::kUsed) {
        if (!used[col_idx[e]]) continue;
      }
      // Past the row's end lie the next rows' neighbours: worth fetching too. Only the very last ones repeat
      // themselves.
      const char* next = reinterpret_cast<const char*>(base + col_idx[std::min(e + kAhead, last_edge)] * stride);
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(next + v * 64);
      const T* row = base + col_idx[e] * stride;
      simd::Vec<T> part;
      for (int v = 0; v < kVectors; ++v) {
        simd::load<T>(part, row + v * kLanes);
        if constexpr (kScaled) {
          sum[v] += in_scale[col_idx[e]] * part;
        } else {
          sum[v] += part;
        }
      }
    }
    for (int v = 0; v < kVectors; ++v) simd::store<T>(out + v * kLanes, sum[v]);
  }

  // The last columns, fewer than a vector.
  void gather_tail(T* __restrict out, std::int64_t r, std::int64_t first, std::int64_t cols) const {
    std::fill_n(out, cols, T(0));
    for (std::int64_t e = row_ptr[r]; e < row_ptr[r + 1]; ++e) {
      check_column(e);
      const T* __restrict row = x.row(col_idx[e]) + first;
      const T scale = in_scale ? in_scale[col_idx[e]] : T(1);
      for (std::int64_t i = 0; i < cols; ++i) out[i] += scale * row[i];
    }
  }

  template <bool kScaled, Sources kSources>
  void sum_columns(T* out, std::int64_t r) const {
    constexpr std::int64_t kLanes = simd::kLanes<T>;
    const std::int64_t cols = x.cols();
    std::int64_t c = 0;
    for (; c + 8 * kLanes <= cols; c += 8 * kLanes) gather<8, kScaled, kSources>(out + c, r, c);
    for (; c + 4 * kLanes <= cols; c += 4 * kLanes) gather<4, kScaled, kSources>(out + c, r, c);
    for (; c + kLanes <= cols; c += kLanes) gather<1, kScaled, kSources>(out + c, r, c);
    if (c < cols) gather_tail(out + c, r, c, cols - c);
  }

  // out (C) = sum of in_scale_c x_c over row r.
  void sum_row(T* out, std::int64_t r) const {
    if (used) {
      in_scale ? sum_columns<true, Sources::kUsed>(out, r) : sum_columns<false, Sources::kUsed>(out, r);
    } else {
      in_scale ? sum_columns<true, Sources::kAll>(out, r) : sum_columns<false, Sources::kAll>(out, r);
    }
  }
};

template <class T>
bool is_zero(const T* row, std::int64_t cols) {
  int others = 0;  // counted to the end: a loop that may end early is no loop for vectors
#pragma omp simd reduction(+ : others)
  for (std::int64_t i = 0; i < cols; ++i) others += row[i] != T(0);
  return others == 0;
}

// One byte per row of x, 0 where all its elements are zero; null where a sample of the rows says that few are.
template <class T>
const std::uint8_t* find_used_rows(CpuContext& ctx, Arena& scratch, ConstView<T, 2> x) {
  constexpr std::int64_t kSample = 256, kGrain = 512;
  const std::int64_t step = std::max<std::int64_t>(x.rows() / kSample, 1);
  std::int64_t zeros = 0, seen = 0;
  for (std::int64_t s = step / 2; s < x.rows(); s += step, ++seen) zeros += is_zero(x.row(s), x.cols());
  if (2 * zeros < seen) return nullptr;
  auto* used = scratch.alloc<std::uint8_t>(x.rows());
  parallel_for(ctx, x.rows(), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t s = begin; s < end; ++s) used[s] = !is_zero(x.row(s), x.cols());
  });
  return used;
}

template <class T>
void check_scales(ConstView<T, 2> x, std::int64_t rows, ConstView<T, 1> out_scale, ConstView<T, 1> in_scale) {
  GALREC_CHECK(!out_scale || out_scale.extent(0) == rows, "out_scale ({}) for {} rows", out_scale.extent(0), rows);
  GALREC_CHECK(!in_scale || in_scale.extent(0) == x.rows(), "in_scale ({}) for {} rows", in_scale.extent(0), x.rows());
}

// Row r's edges lie in [0, edges).
void check_row(const CsrView& graph, std::int64_t r, std::int64_t edges) {
  const std::int32_t begin = graph.row_ptr[r], end = graph.row_ptr[r + 1];
  GALREC_CHECK(begin >= 0 && begin <= end && end <= edges, "row {} has edges [{}, {}) of {}", r, begin, end, edges);
}

// Number of edges that the graph claims and has.
std::int64_t edge_count(const CsrView& graph) {
  const std::int64_t edges = graph.row_ptr[graph.row_ptr.extent(0) - 1];
  GALREC_CHECK(graph.row_ptr[0] == 0 && edges >= 0 && edges <= graph.col_idx.extent(0), "edges [{}, {}) of {}", graph.row_ptr[0], edges,
               graph.col_idx.extent(0));
  return edges;
}

// Offsets rise: the cut into blocks searches them.
void check_offsets(const CsrView& graph) {
  const std::int64_t rows = graph.row_ptr.extent(0) - 1;
  const std::int32_t* row_ptr = graph.row_ptr.data;
  std::int32_t falls = 0;  // counted: a loop that may end early is no loop for vectors
#pragma omp simd reduction(+ : falls)
  for (std::int64_t r = 0; r < rows; ++r) falls += row_ptr[r] > row_ptr[r + 1];
  for (std::int64_t r = 0; falls > 0 && r < rows; ++r) check_row(graph, r, row_ptr[rows]);
}

}  // namespace

template <class T>
void spmm(CpuContext& ctx, View<T, 2> y, View<T, 2> total, const CsrView& graph, ConstView<T, 2> x,
          ConstView<T, 1> out_scale, ConstView<T, 1> in_scale, Accumulate accumulate) {
  const std::int64_t rows = graph.row_ptr.extent(0) - 1, cols = x.cols();
  const bool only_total = !y && total && accumulate == Accumulate::kOverwrite;
  GALREC_CHECK(rows >= 0 && (only_total || (y.rows() == rows && y.cols() == cols)), "y is ({}, {}), expected ({}, {})",
               y.rows(), y.cols(), rows, cols);
  GALREC_CHECK(!total || (total.rows() == rows && total.cols() == cols), "total is ({}, {}), expected ({}, {})",
               total.rows(), total.cols(), rows, cols);
  check_scales<T>(x, rows, out_scale, in_scale);
  GALREC_CHECK(y.data != x.data || y.empty(), "y aliases x");
  const std::int32_t *row_ptr = graph.row_ptr.data, *col_idx = graph.col_idx.data;
  const std::int64_t edges = edge_count(graph);
  check_offsets(graph);

  ScratchScope scratch(ctx.scratch());
  auto sums = scratch->matrix<T>(ctx.threads(), std::max<std::int64_t>(cols, 1));
  const Rows<T> source{row_ptr, col_idx, x, in_scale.data, edges - 1, find_used_rows<T>(ctx, *scratch, x)};
  const std::int64_t blocks = (rows + edges + kBlockWork - 1) / kBlockWork;
  parallel_for(ctx, blocks, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    T* sum = sums.row(worker);
    const std::int64_t last = block_start(row_ptr, rows, end);
    for (std::int64_t r = block_start(row_ptr, rows, begin); r < last; ++r) {
      source.sum_row(sum, r);
      const T scale = out_scale ? out_scale[r] : T(1);
      T* out = only_total ? sum : y.row(r);
      if (accumulate == Accumulate::kAdd) {
#pragma omp simd
        for (std::int64_t i = 0; i < cols; ++i) out[i] += scale * sum[i];
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < cols; ++i) out[i] = scale * sum[i];
      }
      if (!total) continue;
      T* __restrict running = total.row(r);
#pragma omp simd
      for (std::int64_t i = 0; i < cols; ++i) running[i] += out[i];
    }
  });
}

template <class T>
void spmm_rows(CpuContext& ctx, View<T, 2> y, const CsrView& graph, View<const std::int32_t, 1> rows, ConstView<T, 2> x,
               ConstView<T, 1> out_scale, ConstView<T, 1> in_scale) {
  constexpr std::int64_t kGrain = 64;
  const std::int64_t all = graph.row_ptr.extent(0) - 1, cols = x.cols();
  GALREC_CHECK(all >= 0 && y.rows() == rows.extent(0) && y.cols() == cols, "y is ({}, {}), expected ({}, {})", y.rows(),
               y.cols(), rows.extent(0), cols);
  check_scales<T>(x, all, out_scale, in_scale);
  GALREC_CHECK(y.data != x.data || y.empty(), "y aliases x");
  for (std::int64_t n = 0; n < rows.extent(0); ++n)
    GALREC_CHECK(rows[n] >= 0 && rows[n] < all, "row {} at position {} of a graph of {} rows", rows[n], n, all);
  const std::int64_t edges = edge_count(graph);
  const Rows<T> source{graph.row_ptr.data, graph.col_idx.data, x, in_scale.data, edges - 1};
  parallel_for(ctx, rows.extent(0), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      T* __restrict out = y.row(n);
      check_row(graph, rows[n], edges);
      source.sum_row(out, rows[n]);
      const T scale = out_scale ? out_scale[rows[n]] : T(1);
      for (std::int64_t i = 0; i < cols; ++i) out[i] *= scale;
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                  \
  template void spmm<T>(CpuContext&, View<T, 2>, View<T, 2>, const CsrView&, ConstView<T, 2>, ConstView<T, 1>, \
                        ConstView<T, 1>, Accumulate);                                                          \
  template void spmm_rows<T>(CpuContext&, View<T, 2>, const CsrView&, View<const std::int32_t, 1>, ConstView<T, 2>, \
                             ConstView<T, 1>, ConstView<T, 1>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
