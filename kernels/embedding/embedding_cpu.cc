#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/common/row_slabs.h"

namespace galrec {

namespace {

void check_ids(View<const std::int32_t, 1> ids, std::int64_t rows) {
  for (std::int64_t n = 0; n < ids.extent(0); ++n)
    GALREC_CHECK(ids[n] >= 0 && ids[n] < rows, "id {} at position {} of a table of {} rows", ids[n], n, rows);
}

// Positions ordered by id, equal ids in order of position: a radix sort of the ids' bytes.
View<std::int32_t, 1> sorted_positions(Arena& arena, View<const std::int32_t, 1> ids, std::int64_t rows) {
  const std::int64_t n = ids.extent(0);
  auto order = arena.vector<std::int32_t>(n), other = arena.vector<std::int32_t>(n);
  for (std::int64_t i = 0; i < n; ++i) order[i] = static_cast<std::int32_t>(i);
  constexpr int kBits = 11;
  for (int shift = 0; shift < 31 && (rows - 1) >> shift > 0; shift += kBits) {
    std::int64_t count[(1 << kBits) + 1] = {};
    for (std::int64_t i = 0; i < n; ++i) ++count[((ids[order[i]] >> shift) & ((1 << kBits) - 1)) + 1];
    for (int b = 0; b < 1 << kBits; ++b) count[b + 1] += count[b];
    for (std::int64_t i = 0; i < n; ++i) other[count[(ids[order[i]] >> shift) & ((1 << kBits) - 1)]++] = order[i];
    std::swap(order, other);
  }
  return order;
}

}  // namespace

template <class T>
void embedding_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> table, View<const std::int32_t, 1> ids, Accumulate accumulate) {
  const std::int64_t n = ids.extent(0), c = table.cols();
  GALREC_CHECK(y.rows() == n && y.cols() == c, "y is ({}, {}), expected ({}, {})", y.rows(), y.cols(), n, c);
  check_ids(ids, table.rows());
  const bool add = accumulate == Accumulate::kAdd;
  parallel_for(ctx, n, rows_per_chunk(c), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) add_or_store(y.row(r), table.row(ids[r]), c, add);
  });
}

template <class T>
void embedding_backward(CpuContext& ctx, View<T, 2> dtable, ConstView<T, 2> dy, View<const std::int32_t, 1> ids, Accumulate accumulate) {
  const std::int64_t n = ids.extent(0), c = dtable.cols();
  GALREC_CHECK(dy.rows() == n && dy.cols() == c, "dy is ({}, {}), expected ({}, {})", dy.rows(), dy.cols(), n, c);
  check_ids(ids, dtable.rows());
  if (accumulate == Accumulate::kOverwrite) {
    parallel_for(ctx, dtable.rows(), rows_per_chunk(c), [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) std::fill_n(dtable.row(r), c, T(0));
    });
  }
  if (n == 0) return;
  ScratchScope scratch(ctx.scratch());
  const auto order = sorted_positions(*scratch, ids, dtable.rows());
  // Segments of equal ids: each is summed by one thread, in order of position.
  auto starts = scratch->vector<std::int32_t>(n + 1);
  std::int64_t segments = 0;
  for (std::int64_t i = 0; i < n; ++i)
    if (i == 0 || ids[order[i]] != ids[order[i - 1]]) starts[segments++] = static_cast<std::int32_t>(i);
  starts[segments] = static_cast<std::int32_t>(n);
  parallel_for(ctx, segments, std::max<std::int64_t>(1, rows_per_chunk(c) / 4), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t s = begin; s < end; ++s) {
      T* row = dtable.row(ids[order[starts[s]]]);
      for (std::int64_t i = starts[s]; i < starts[s + 1]; ++i) add_or_store(row, dy.row(order[i]), c, true);
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                             \
  template void embedding_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>, Accumulate); \
  template void embedding_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
