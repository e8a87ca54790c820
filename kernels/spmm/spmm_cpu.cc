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

template <class T>
struct Rows {
  const std::int32_t *row_ptr, *col_idx;
  View<const T, 2> x;
  const T* in_scale;
  std::int64_t last_edge;

  // out[0 .. kVectors lanes) = sum of in_scale_c x_c over row r, from column `first` on, in registers throughout.
  template <int kVectors, bool kScaled>
  void gather(T* out, std::int64_t r, std::int64_t first) const {
    constexpr int kLanes = simd::kLanes<T>;
    simd::Vec<T> sum[kVectors] = {};
    const T* base = x.data + first;
    const std::int64_t end = row_ptr[r + 1], stride = x.stride[0];
    for (std::int64_t e = row_ptr[r]; e < end; ++e) {
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
      const T* __restrict row = x.row(col_idx[e]) + first;
      const T scale = in_scale ? in_scale[col_idx[e]] : T(1);
      for (std::int64_t i = 0; i < cols; ++i) out[i] += scale * row[i];
    }
  }

  template <bool kScaled>
  void sum_row(T* out, std::int64_t r) const {
    constexpr std::int64_t kLanes = simd::kLanes<T>;
    const std::int64_t cols = x.cols();
    std::int64_t c = 0;
    for (; c + 8 * kLanes <= cols; c += 8 * kLanes) gather<8, kScaled>(out + c, r, c);
    for (; c + 4 * kLanes <= cols; c += 4 * kLanes) gather<4, kScaled>(out + c, r, c);
    for (; c + kLanes <= cols; c += kLanes) gather<1, kScaled>(out + c, r, c);
    if (c < cols) gather_tail(out + c, r, c, cols - c);
  }
};

}  // namespace

template <class T>
void spmm(CpuContext& ctx, View<T, 2> y, View<T, 2> total, const CsrView& graph, ConstView<T, 2> x,
          ConstView<T, 1> out_scale, ConstView<T, 1> in_scale, Accumulate accumulate) {
  const std::int64_t rows = graph.row_ptr.extent(0) - 1, cols = x.cols();
  GALREC_CHECK(rows >= 0 && y.rows() == rows && y.cols() == cols, "y is ({}, {}), expected ({}, {})", y.rows(),
               y.cols(), rows, cols);
  GALREC_CHECK(!total || (total.rows() == rows && total.cols() == cols), "total is ({}, {}), expected ({}, {})",
               total.rows(), total.cols(), rows, cols);
  GALREC_CHECK(!out_scale || out_scale.extent(0) == rows, "out_scale ({}) for {} rows", out_scale.extent(0), rows);
  GALREC_CHECK(!in_scale || in_scale.extent(0) == x.rows(), "in_scale ({}) for {} rows", in_scale.extent(0), x.rows());
  GALREC_CHECK(y.data != x.data || y.empty(), "y aliases x");
  const std::int32_t *row_ptr = graph.row_ptr.data, *col_idx = graph.col_idx.data;
  const std::int64_t edges = row_ptr[rows];
  GALREC_CHECK(row_ptr[0] == 0 && edges <= graph.col_idx.extent(0), "edges [{}, {}) of {}", row_ptr[0], edges,
               graph.col_idx.extent(0));
  for (std::int64_t r = 0; r < rows; ++r) {
    GALREC_CHECK(row_ptr[r] <= row_ptr[r + 1], "row_ptr falls from {} to {} at row {}", row_ptr[r], row_ptr[r + 1], r);
  }
  std::int64_t outside = 0;
  const auto sources = static_cast<std::uint32_t>(x.rows());
#pragma omp simd reduction(+ : outside)
  for (std::int64_t e = 0; e < edges; ++e) outside += static_cast<std::uint32_t>(col_idx[e]) >= sources;
  GALREC_CHECK(outside == 0, "{} of {} columns are outside [0, {})", outside, edges, sources);

  ScratchScope scratch(ctx.scratch());
  auto sums = scratch->matrix<T>(ctx.threads(), std::max<std::int64_t>(cols, 1));
  const Rows<T> source{row_ptr, col_idx, x, in_scale.data, edges - 1};
  const std::int64_t blocks = (rows + edges + kBlockWork - 1) / kBlockWork;
  parallel_for(ctx, blocks, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    T* __restrict sum = sums.row(worker);
    const std::int64_t last = block_start(row_ptr, rows, end);
    for (std::int64_t r = block_start(row_ptr, rows, begin); r < last; ++r) {
      if (source.in_scale) {
        source.template sum_row<true>(sum, r);
      } else {
        source.template sum_row<false>(sum, r);
      }
      const T scale = out_scale ? out_scale[r] : T(1);
      T* __restrict out = y.row(r);
      if (accumulate == Accumulate::kAdd) {
        for (std::int64_t i = 0; i < cols; ++i) out[i] += scale * sum[i];
      } else {
        for (std::int64_t i = 0; i < cols; ++i) out[i] = scale * sum[i];
      }
      if (!total) continue;
      T* __restrict running = total.row(r);
      for (std::int64_t i = 0; i < cols; ++i) running[i] += out[i];
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                  \
  template void spmm<T>(CpuContext&, View<T, 2>, View<T, 2>, const CsrView&, ConstView<T, 2>, ConstView<T, 1>, \
                        ConstView<T, 1>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
