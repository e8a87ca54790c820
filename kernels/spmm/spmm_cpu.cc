#include "kernels/spmm/spmm.h"

#include <algorithm>

#include "kernels/common/parallel.h"

namespace galrec {

namespace {

constexpr std::int64_t kRowBlock = 128;  // fixed: rows of a block go to one thread
constexpr std::int64_t kAhead = 8;       // neighbours whose rows are fetched in advance

// total = sum of in_scale_c x_c over row r, C columns in blocks of kBlock that stay in registers.
template <class T, int kBlock>
void gather(T* __restrict out, const CsrView& graph, std::int64_t r, View<const T, 2> x, const T* in_scale, std::int64_t first_col) {
  T sum[kBlock] = {};
  const std::int32_t* col = graph.col_idx.data;
  const std::int64_t end = graph.row_ptr[r + 1];
  for (std::int64_t e = graph.row_ptr[r]; e < end; ++e) {
    if (e + kAhead < end) {
      const char* next = reinterpret_cast<const char*>(x.row(col[e + kAhead]) + first_col);
      for (std::size_t b = 0; b < sizeof(T) * kBlock; b += 64) __builtin_prefetch(next + b);
    }
    const T* row = x.row(col[e]) + first_col;
    const T scale = in_scale ? in_scale[col[e]] : T(1);
    for (int i = 0; i < kBlock; ++i) sum[i] += scale * row[i];
  }
  for (int i = 0; i < kBlock; ++i) out[i] = sum[i];
}

}  // namespace

template <class T>
void spmm(CpuContext& ctx, View<T, 2> y, View<T, 2> total, const CsrView& graph, ConstView<T, 2> x, ConstView<T, 1> out_scale,
          ConstView<T, 1> in_scale, Accumulate accumulate) {
  const std::int64_t rows = graph.row_ptr.extent(0) - 1, c = x.cols();
  GALREC_CHECK(rows >= 0 && y.rows() == rows && y.cols() == c, "y is ({}, {}), expected ({}, {})", y.rows(), y.cols(), rows, c);
  GALREC_CHECK(!total || (total.rows() == rows && total.cols() == c), "total is ({}, {}), expected ({}, {})", total.rows(), total.cols(), rows, c);
  GALREC_CHECK(!out_scale || out_scale.extent(0) == rows, "out_scale ({}) for {} rows", out_scale.extent(0), rows);
  GALREC_CHECK(!in_scale || in_scale.extent(0) == x.rows(), "in_scale ({}) for {} rows", in_scale.extent(0), x.rows());
  GALREC_CHECK(y.data != x.data, "y aliases x");
  for (std::int64_t e = 0; e < graph.col_idx.extent(0); ++e)
    GALREC_CHECK(graph.col_idx[e] >= 0 && graph.col_idx[e] < x.rows(), "column {} of {}", graph.col_idx[e], x.rows());
  const bool add = accumulate == Accumulate::kAdd;
  ScratchScope scratch(ctx.scratch());
  auto work = scratch->matrix<T>(ctx.threads(), std::max<std::int64_t>(c, 1));
  parallel_for(ctx, rows, kRowBlock, [&](std::int64_t begin, std::int64_t end, int worker) {
    T* __restrict sum = work.row(worker);
    const T* scales = in_scale.data;
    for (std::int64_t r = begin; r < end; ++r) {
      std::int64_t col = 0;
      for (; col + 64 <= c; col += 64) gather<T, 64>(sum + col, graph, r, x, scales, col);
      for (; col + 8 <= c; col += 8) gather<T, 8>(sum + col, graph, r, x, scales, col);
      for (; col < c; ++col) gather<T, 1>(sum + col, graph, r, x, scales, col);
      const T scale = out_scale ? out_scale[r] : T(1);
      T* out = y.row(r);
      if (add) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) out[i] += scale * sum[i];
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) out[i] = scale * sum[i];
      }
      if (!total) continue;
      T* running = total.row(r);
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) running[i] += out[i];
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                                          \
  template void spmm<T>(CpuContext&, View<T, 2>, View<T, 2>, const CsrView&, ConstView<T, 2>, ConstView<T, 1>, ConstView<T, 1>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
