#include "kernels/embedding/embedding.h"

#include "kernels/common/device_status.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/launch.h"
#include "kernels/common/rows_device.h"
#include "kernels/common/unordered.h"
#include "kernels/embedding/position_sort_device.h"

namespace galrec {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarpSize;
constexpr int kPiece = 64;     // rows of a long segment that one warp adds
constexpr int kAhead = 4;      // rows in flight while a piece is summed
constexpr int kClearRows = 8;  // rows of dtable that one warp looks after

__device__ __forceinline__ std::int64_t warp_task() {
  return static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id();
}

template <int kWidth, class T, class Table>
__global__ void look_up(View<T, 2> y, View<const Table, 2> table, const std::int32_t* ids, Accumulate accumulate,
                        DeviceStatus* status) {
  const std::int64_t n = warp_task();
  if (n >= y.rows()) return;
  const std::int32_t id = ids[n];
  if (id < 0 || id >= table.rows()) {
    if (lane_id() == 0) report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kEmbedding, id, table.rows());
    return;
  }
  const Table* from = table.row(id);
  T* out = y.row(n);
  for (std::int64_t c = lane_id() * kWidth; c < y.cols(); c += kWarpSize * kWidth) {
    float row[kWidth];
    load_floats<kWidth>(from + c, row);
    update_floats<kWidth>(out + c, row, accumulate);
  }
}

/// The first of the sorted keys [0, n) whose id is not below `id`.
__device__ std::int64_t lower_bound(const PositionKey* keys, std::int64_t n, std::int64_t id) {
  std::int64_t low = 0, high = n;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (key_id(keys[middle]) < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// Where the sum of a long segment's piece that begins at sorted position p is kept. Of 64 neighbouring positions at
/// most one begins a long segment, and at most one a later piece of one.
__device__ __forceinline__ std::int64_t piece_slot(std::int64_t p, bool first) {
  return 2 * (p / kPiece) + (first ? 1 : 0);
}

/// Zeroes the rows of dtable that no position looked up; the others are written by those who add them up.
template <int kWidth>
__global__ void clear_unused_rows(View<float, 2> dtable, const PositionKey* keys, std::int64_t n) {
  const std::int64_t first = warp_task() * kClearRows;
  if (first >= dtable.rows()) return;
  bool unused = false;
  if (const std::int64_t v = first + lane_id(); lane_id() < kClearRows && v < dtable.rows()) {
    const std::int64_t at = lower_bound(keys, n, v);
    unused = at == n || key_id(keys[at]) != v;
  }
  const unsigned mask = __ballot_sync(kFullMask, unused);
  for (int r = 0; r < kClearRows; ++r) {
    if ((mask >> r & 1u) == 0) continue;
    float* out = dtable.row(first + r);
    const float zero[kWidth] = {};
    for (std::int64_t c = lane_id() * kWidth; c < dtable.cols(); c += kWarpSize * kWidth)
      store_floats<kWidth>(out + c, zero);
  }
}

/// sum += rows of dy at the sorted keys [p, end), in order.
template <int kWidth, class T>
__device__ __forceinline__ void add_rows(float (&sum)[kWidth], const View<const T, 2>& dy, const PositionKey* keys,
                                         std::int64_t p, std::int64_t end, std::int64_t column) {
  const auto load = [&](std::int64_t at, float(&row)[kWidth]) {
    load_floats<kWidth>(dy.row(key_position(keys[at])) + column, row);
  };
  const auto add = [&](const float(&row)[kWidth]) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] += row[i];
  };
  for (; p + kAhead <= end; p += kAhead) {
    float rows[kAhead][kWidth];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) load(p + k, rows[k]);
#pragma unroll
    for (int k = 0; k < kAhead; ++k) add(rows[k]);
  }
  for (; p < end; ++p) {
    float row[kWidth];
    load(p, row);
    add(row);
  }
}

/// A warp for each sorted position; those at which no piece begins leave at once.
template <int kWidth, class T>
__global__ void sum_pieces(View<float, 2> dtable, View<float, 2> partial, View<const T, 2> dy, const PositionKey* keys,
                           std::int64_t n, Accumulate accumulate) {
  const std::int64_t p = warp_task();
  if (p >= n) return;
  const std::int64_t id = key_id(keys[p]);
  if (id >= dtable.rows()) return;  // a bad id, reported already
  const bool first = p == 0 || key_id(keys[p - 1]) != id;
  if (!first) {
    if (p < kPiece || key_id(keys[p - kPiece]) != id) return;
    if ((p - lower_bound(keys, p, id)) % kPiece != 0) return;
  }
  std::int64_t end = min(n, p + kPiece);
  const bool is_long = !first || (end < n && key_id(keys[end]) == id);
  if (key_id(keys[end - 1]) != id) end = p + lower_bound(keys + p, end - p, id + 1);
  float* out = is_long ? partial.row(piece_slot(p, first)) : dtable.row(id);
  const bool add = !is_long && accumulate == Accumulate::kAdd;
  for (std::int64_t c = lane_id() * kWidth; c < dy.cols(); c += kWarpSize * kWidth) {
    float sum[kWidth] = {};
    if (add) load_floats<kWidth>(out + c, sum);
    add_rows<kWidth>(sum, dy, keys, p, end, c);
    store_floats<kWidth>(out + c, sum);
  }
}

/// A block for each 64 sorted positions adds up the pieces of the long segment that begins there, if one does.
template <int kWidth>
__global__ void join_pieces(View<float, 2> dtable, View<float, 2> partial, const PositionKey* keys, std::int64_t n,
                            Accumulate accumulate) {
  const std::int64_t window = static_cast<std::int64_t>(blockIdx.x) * kPiece;
  const auto begins = [&](std::int64_t p) {
    if (p + kPiece >= n) return false;
    const std::int64_t id = key_id(keys[p]);
    return key_id(keys[p + kPiece]) == id && (p == 0 || key_id(keys[p - 1]) != id);
  };
  const unsigned low = __ballot_sync(kFullMask, begins(window + lane_id()));
  const unsigned high = __ballot_sync(kFullMask, begins(window + kWarpSize + lane_id()));
  if ((low | high) == 0) return;
  const std::int64_t p =
      window + (low != 0 ? __ffs(static_cast<int>(low)) : kWarpSize + __ffs(static_cast<int>(high))) - 1;
  const std::int64_t id = key_id(keys[p]);
  if (id >= dtable.rows()) return;
  float* out = dtable.row(id);
  for (std::int64_t c = thread_id() * kWidth; c < dtable.cols(); c += kThreads * kWidth) {
    float sum[kWidth] = {};
    if (accumulate == Accumulate::kAdd) load_floats<kWidth>(out + c, sum);
    for (std::int64_t q = p; q < n && key_id(keys[q]) == id; q += kPiece) {
      float piece[kWidth];
      load_floats<kWidth>(partial.row(piece_slot(q, q == p)) + c, piece);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum[i] += piece[i];
    }
    store_floats<kWidth>(out + c, sum);
  }
}

/// What an unordered build has instead of everything above: a warp for each row of dy, which adds it where it belongs.
template <class T>
__global__ void scatter_rows(View<float, 2> dtable, View<const T, 2> dy, const std::int32_t* ids, DeviceStatus* status) {
  const std::int64_t n = warp_task();
  if (n >= dy.rows()) return;
  const std::int32_t id = ids[n];
  if (id < 0 || id >= dtable.rows()) {
    if (lane_id() == 0) report_fault(status, DeviceFault::kIdOutOfRange, DeviceOperation::kEmbedding, id, dtable.rows());
    return;
  }
  for (std::int64_t c = lane_id(); c < dy.cols(); c += kWarpSize) add_unordered(dtable.row(id) + c, to_float(dy(n, c)));
}

std::int64_t blocks_for(std::int64_t warps) {
  return (warps + kWarps - 1) / kWarps;
}

}  // namespace

template <class T, class Table>
void embedding_forward(CudaContext& ctx, View<T, 2> y, ConstView<Table, 2> table, View<const std::int32_t, 1> ids,
                       Accumulate accumulate) {
  GALREC_CHECK(table.cols() == y.cols() && ids.extent(0) == y.rows(), "y ({}, {}), table ({}, {}), ids ({})", y.rows(),
               y.cols(), table.rows(), table.cols(), ids.extent(0));
  if (y.rows() == 0 || y.cols() == 0) return;
  constexpr int kWidth = kRowWidth<T, Table>;
  launch(all_in_vectors(kWidth, y, table) ? look_up<kWidth, T, Table> : look_up<1, T, Table>, blocks_for(y.rows()),
         kThreads, 0, ctx.stream(), y, table, ids.data, accumulate, ctx.status());
}

template <class T>
void embedding_backward(CudaContext& ctx, View<Acc<T>, 2> dtable, ConstView<T, 2> dy, View<const std::int32_t, 1> ids,
                        Accumulate accumulate) {
  const std::int64_t n = dy.rows(), cols = dtable.cols();
  GALREC_CHECK(dy.cols() == cols && ids.extent(0) == n, "dtable ({}, {}), dy ({}, {}), ids ({})", dtable.rows(), cols,
               n, dy.cols(), ids.extent(0));
  if (cols == 0) return;
  if constexpr (kUnordered) {
    if (accumulate == Accumulate::kOverwrite) fill<float>(ctx, dtable, 0);
    if (n > 0) launch(scatter_rows<T>, blocks_for(n), kThreads, 0, ctx.stream(), dtable, dy, ids.data, ctx.status());
    return;
  }
  constexpr int kWidth = kRowWidth<float, T>;
  const bool table_vectors = in_vectors(dtable, kWidth), vectors = table_vectors && in_vectors(dy, kWidth);
  ScratchScope scratch(ctx.scratch());
  const auto keys = n > 0 ? sort_positions(ctx, *scratch, ids, dtable.rows()) : View<const PositionKey, 1>{};
  if (accumulate == Accumulate::kOverwrite && dtable.rows() > 0) {
    launch(table_vectors ? clear_unused_rows<kWidth> : clear_unused_rows<1>,
           blocks_for((dtable.rows() + kClearRows - 1) / kClearRows), kThreads, 0, ctx.stream(), dtable, keys.data, n);
  }
  if (n == 0) return;
  // No segment can be long when there are too few positions; otherwise room for two pieces of each 64 positions.
  const std::int64_t windows = n > kPiece ? (n + kPiece - 1) / kPiece : 0;
  const std::int64_t stride = (cols + kWidth - 1) / kWidth * kWidth;
  const View<float, 2> partial(scratch->alloc<float>(2 * windows * stride), {2 * windows, cols}, {stride, 1});
  launch(vectors ? sum_pieces<kWidth, T> : sum_pieces<1, T>, blocks_for(n), kThreads, 0, ctx.stream(), dtable, partial,
         dy, keys.data, n, accumulate);
  if (windows == 0) return;
  launch(table_vectors ? join_pieces<kWidth> : join_pieces<1>, windows, kThreads, 0, ctx.stream(), dtable, partial,
         keys.data, n, accumulate);
}

#define GALREC_INSTANTIATE(T, Table)                                                       \
  template void embedding_forward<T, Table>(CudaContext&, View<T, 2>, ConstView<Table, 2>, \
                                            View<const std::int32_t, 1>, Accumulate);
GALREC_INSTANTIATE(float, float)
GALREC_INSTANTIATE(bfloat16, float)
GALREC_INSTANTIATE(bfloat16, bfloat16)
#undef GALREC_INSTANTIATE
template void embedding_backward<float>(CudaContext&, View<float, 2>, ConstView<float, 2>, View<const std::int32_t, 1>,
                                        Accumulate);
template void embedding_backward<bfloat16>(CudaContext&, View<float, 2>, ConstView<bfloat16, 2>,
                                           View<const std::int32_t, 1>, Accumulate);

}  // namespace galrec
