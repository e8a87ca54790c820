#include "kernels/embedding/embedding.h"

#include <array>
#include <utility>

#include "kernels/common/rows.h"

namespace galrec {

namespace {

void check_ids(View<const std::int32_t, 1> ids, std::int64_t rows) {
  std::int32_t low = 0, high = -1;
  for (std::int64_t n = 0; n < ids.extent(0); ++n) {
    low = std::min(low, ids[n]);
    high = std::max(high, ids[n]);
  }
  if (low >= 0 && high < rows) return;
  for (std::int64_t n = 0; n < ids.extent(0); ++n) {
    GALREC_CHECK(ids[n] >= 0 && ids[n] < rows, "id {} at position {} of a table of {} rows", ids[n], n, rows);
  }
}

// Id in the upper half, position in the lower.
using Key = std::uint64_t;
std::int64_t key_id(Key k) {
  return static_cast<std::int64_t>(k >> 32);
}
std::int64_t key_position(Key k) {
  return static_cast<std::int64_t>(k & 0xffffffffu);
}

// Positions sorted by id, equal ids in position order: least-significant-digit radix sort on the id alone, which starts
// in position order and is stable.
View<Key, 1> sort_positions(Arena& scratch, View<const std::int32_t, 1> ids, std::int64_t table_rows) {
  constexpr int kDigit = 11;
  const std::int64_t n = ids.extent(0);
  GALREC_CHECK(n <= 0xffffffff, "{} positions", n);
  auto keys = scratch.vector<Key>(n), other = scratch.vector<Key>(n);
  for (std::int64_t i = 0; i < n; ++i) keys[i] = static_cast<Key>(ids[i]) << 32 | static_cast<Key>(i);
  for (int shift = 32; shift < 64 && (table_rows - 1) >> (shift - 32) > 0; shift += kDigit) {
    std::array<std::int64_t, (1 << kDigit) + 1> start{};
    const auto digit = [shift](Key k) { return k >> shift & ((1u << kDigit) - 1); };
    for (std::int64_t i = 0; i < n; ++i) ++start[digit(keys[i]) + 1];
    for (int d = 0; d < 1 << kDigit; ++d) start[d + 1] += start[d];
    for (std::int64_t i = 0; i < n; ++i) other[start[digit(keys[i])]++] = keys[i];
    std::swap(keys, other);
  }
  return keys;
}

// Sorted positions [begin, end) and the columns [first, last) that one task adds. A task holds whole segments of equal
// ids, and a long segment is split by columns, so that every element is summed in position order by one thread.
struct Task {
  std::int64_t begin, end, first, last;
};

View<Task, 1> make_tasks(Arena& scratch, View<const Key, 1> keys, std::int64_t cols) {
  constexpr std::int64_t kTaskRows = 64, kTaskCols = 64;
  const std::int64_t n = keys.extent(0), blocks = (cols + kTaskCols - 1) / kTaskCols;
  const auto tasks = scratch.vector<Task>(n / kTaskRows * (1 + blocks) + 1);
  std::int64_t count = 0, begin = 0;
  const auto close = [&](std::int64_t end) {
    if (begin < end) tasks[count++] = {begin, end, 0, cols};
    begin = end;
  };
  for (std::int64_t i = 0; i < n;) {
    std::int64_t end = i + 1;
    while (end < n && key_id(keys[end]) == key_id(keys[i])) ++end;
    if (end - i >= kTaskRows) {
      close(i);
      for (std::int64_t c = 0; c < cols; c += kTaskCols) tasks[count++] = {i, end, c, std::min(cols, c + kTaskCols)};
      begin = end;
    } else if (end - begin >= kTaskRows) {
      close(end);
    }
    i = end;
  }
  close(n);
  return tasks.slice(0, count);
}

}  // namespace

template <class T>
void embedding_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> table, View<const std::int32_t, 1> ids,
                       Accumulate accumulate) {
  const std::int64_t rows = y.rows(), cols = y.cols();
  GALREC_CHECK(table.cols() == cols && ids.extent(0) == rows, "y ({}, {}), table ({}, {}), ids ({})", rows, cols,
               table.rows(), table.cols(), ids.extent(0));
  check_ids(ids, table.rows());
  parallel_for(ctx, rows, row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const T* from = table.row(ids[n]);
      T* out = y.row(n);
      if (accumulate == Accumulate::kAdd) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) out[c] += from[c];
      } else {
        std::copy_n(from, cols, out);
      }
    }
  });
}

template <class T>
void embedding_backward(CpuContext& ctx, View<T, 2> dtable, ConstView<T, 2> dy, View<const std::int32_t, 1> ids,
                        Accumulate accumulate) {
  const std::int64_t rows = dy.rows(), cols = dy.cols();
  GALREC_CHECK(dtable.cols() == cols && ids.extent(0) == rows, "dtable ({}, {}), dy ({}, {}), ids ({})", dtable.rows(),
               dtable.cols(), rows, cols, ids.extent(0));
  check_ids(ids, dtable.rows());
  if (accumulate == Accumulate::kOverwrite) {
    parallel_for(ctx, dtable.rows(), row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t v = begin; v < end; ++v) std::fill_n(dtable.row(v), cols, T(0));
    });
  }
  if (rows == 0 || cols == 0) return;
  ScratchScope scratch(ctx.scratch());
  const View<const Key, 1> keys = sort_positions(*scratch, ids, dtable.rows());
  const auto tasks = make_tasks(*scratch, keys, cols);
  // A task reads about 64 rows or 64 columns of a long segment; small inputs are one chunk.
  const std::int64_t grain = std::max<std::int64_t>(1, row_grain<T>(cols) / 64);
  parallel_for(ctx, tasks.extent(0), grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      const Task task = tasks[t];
      for (std::int64_t i = task.begin; i < task.end; ++i) {
        const T* from = dy.row(key_position(keys[i]));
        T* out = dtable.row(key_id(keys[i]));
#pragma omp simd
        for (std::int64_t c = task.first; c < task.last; ++c) out[c] += from[c];
      }
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                \
  template void embedding_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>,  \
                                     Accumulate);                                                            \
  template void embedding_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>, \
                                      Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
