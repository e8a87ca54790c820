#include "kernels/spmm/spmm.h"

#include <limits>

#include "kernels/common/device_status.h"
#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 256;  // neighbours of a long row that one group of lanes adds; a constant of the results
constexpr int kAhead = 4;    // rows of x in flight

template <class T>
struct Problem {
  View<T, 2> y;
  View<float, 2> total;    // may be empty
  View<float, 2> partial;  // two rows for each kPiece edges
  const std::int32_t *row_ptr, *col_idx;
  std::int64_t rows, edges;
  View<const T, 2> x;
  const float *out_scale, *in_scale;  // may be null
  Accumulate accumulate;
  DeviceStatus* status;
};

struct Range {
  std::int64_t begin, end;
};

/// The edges of row r; empty, and reported, where offsets make no sense.
template <class T>
__device__ __forceinline__ Range edges_of(const Problem<T>& k, std::int64_t r) {
  const std::int64_t begin = k.row_ptr[r], end = k.row_ptr[r + 1];
  if (begin >= 0 && begin <= end && end <= k.edges) return {begin, end};
  report_fault(k.status, DeviceFault::kOffsetsOutOfOrder, DeviceOperation::kSpmm, end < begin ? begin : end,
               end < begin ? end : k.edges);
  return {0, 0};
}

/// The last row that does not begin behind edge e.
template <class T>
__device__ std::int64_t row_of_edge(const Problem<T>& k, std::int64_t e) {
  std::int64_t low = 0, high = k.rows;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (k.row_ptr[middle + 1] <= e) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// sum += in_scale_c x_c over edges [begin, end), in order, for Width columns.
template <int Width, class T>
__device__ __forceinline__ void add_neighbors(float (&sum)[Width], const Problem<T>& k, std::int64_t begin,
                                              std::int64_t end, std::int64_t column) {
  const auto sources = static_cast<std::uint32_t>(k.x.rows());
  const auto load = [&](std::int64_t e, float(&row)[Width]) {
    const std::int32_t c = k.col_idx[e];
    if (static_cast<std::uint32_t>(c) >= sources) {
      report_fault(k.status, DeviceFault::kIdOutOfRange, DeviceOperation::kSpmm, c, sources);
#pragma unroll
      for (int i = 0; i < Width; ++i) row[i] = 0;
      return 0.0f;
    }
    load_floats<Width>(k.x.row(c) + column, row);
    return k.in_scale != nullptr ? k.in_scale[c] : 1.0f;
  };
  const auto add = [&](float scale, const float(&row)[Width]) {
#pragma unroll
    for (int i = 0; i < Width; ++i) sum[i] = fmaf(scale, row[i], sum[i]);  // whole rows and chosen rows: the same bits
  };
  std::int64_t e = begin;
  for (; e + kAhead <= end; e += kAhead) {
    float rows[kAhead][Width], scales[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) scales[a] = load(e + a, rows[a]);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) add(scales[a], rows[a]);
  }
  for (; e < end; ++e) {
    float row[Width];
    const float scale = load(e, row);
    add(scale, row);
  }
}

/// y = out_scale sum (+ y), total += y.
template <int Width, class T>
__device__ __forceinline__ void finish(const Problem<T>& k, float (&sum)[Width], std::int64_t r, std::int64_t column) {
  const float scale = k.out_scale != nullptr ? k.out_scale[r] : 1.0f;
#pragma unroll
  for (int i = 0; i < Width; ++i) sum[i] *= scale;
  if (k.y.data == nullptr) {
    update_floats<Width>(k.total.row(r) + column, sum, Accumulate::kAdd);
    return;
  }
  T* y = k.y.row(r) + column;
  if (k.accumulate == Accumulate::kAdd) {
    float before[Width];
    load_floats<Width>(y, before);
#pragma unroll
    for (int i = 0; i < Width; ++i) sum[i] += before[i];
  }
  store_floats<Width>(y, sum);
  if (k.total.data != nullptr) update_floats<Width>(k.total.row(r) + column, sum, Accumulate::kAdd);
}

/// The group of Lanes consecutive threads that this thread is in, and its columns.
template <int Lanes>
__device__ __forceinline__ std::int64_t group_task() {
  return static_cast<std::int64_t>(blockIdx.x) * (kThreads / Lanes) + thread_id() / Lanes;
}
template <int Lanes, int Width, class F>
__device__ __forceinline__ void for_columns(std::int64_t cols, const F& f) {
  for (std::int64_t c = thread_id() % Lanes * Width; c < cols; c += Lanes * Width) f(c);
}

/// A group a row; long rows are left to sum_pieces and join_pieces.
template <int Width, int Lanes, class T>
__global__ void sum_rows(Problem<T> k) {
  const std::int64_t r = group_task<Lanes>();
  if (r >= k.rows) return;
  const Range edges = edges_of(k, r);
  if (edges.end - edges.begin > kPiece) return;
  for_columns<Lanes, Width>(k.x.cols(), [&](std::int64_t c) {
    float sum[Width] = {};
    add_neighbors<Width>(sum, k, edges.begin, edges.end, c);
    finish<Width>(k, sum, r, c);
  });
}

/// A piece of a long row: the edges from `begin` on. Of kPiece neighbouring edges at most two begin a piece: one of the
/// row that reaches into the window from before (or begins with it), and one of the row that reaches out of it.
struct Piece {
  std::int64_t row = -1;  // -1: none
  Range row_edges{};
  std::int64_t begin = 0;
};
template <class T>
__device__ __forceinline__ Piece piece_of_slot(const Problem<T>& k, std::int64_t slot) {
  const std::int64_t first = slot / 2 * kPiece, last = min(k.edges, first + kPiece) - 1;
  Piece piece;
  const std::int64_t row = row_of_edge(k, slot % 2 == 0 ? first : last);
  if (row >= k.rows) return piece;
  const Range edges = edges_of(k, row);
  if (edges.end - edges.begin <= kPiece) return piece;
  if (slot % 2 == 0) {
    if (edges.begin > first) return piece;  // offsets that fall: the search went astray
    piece.begin = edges.begin + (first - edges.begin + kPiece - 1) / kPiece * kPiece;
    if (piece.begin > last || piece.begin >= edges.end) return piece;
  } else {
    piece.begin = edges.begin;
    if (edges.begin <= first) return piece;  // the even slot's
  }
  piece.row = row;
  piece.row_edges = edges;
  return piece;
}

template <int Width, int Lanes, class T>
__global__ void sum_pieces(Problem<T> k) {
  const std::int64_t slot = group_task<Lanes>();
  if (slot >= k.partial.rows()) return;
  const Piece piece = piece_of_slot(k, slot);
  if (piece.row < 0) return;
  const std::int64_t end = min(piece.row_edges.end, piece.begin + kPiece);
  for_columns<Lanes, Width>(k.x.cols(), [&](std::int64_t c) {
    float sum[Width] = {};
    add_neighbors<Width>(sum, k, piece.begin, end, c);
    store_floats<Width>(k.partial.row(slot) + c, sum);
  });
}

/// The group that a long row's first piece had adds up all of them.
template <int Width, int Lanes, class T>
__global__ void join_pieces(Problem<T> k) {
  const std::int64_t slot = group_task<Lanes>();
  if (slot >= k.partial.rows()) return;
  const Piece piece = piece_of_slot(k, slot);
  if (piece.row < 0 || piece.begin != piece.row_edges.begin) return;
  for_columns<Lanes, Width>(k.x.cols(), [&](std::int64_t c) {
    float sum[Width], next[Width];
    load_floats<Width>(k.partial.row(slot) + c, sum);
    for (std::int64_t e = piece.begin + kPiece; e < piece.row_edges.end; e += kPiece) {
      load_floats<Width>(k.partial.row(2 * (e / kPiece)) + c, next);
#pragma unroll
      for (int i = 0; i < Width; ++i) sum[i] += next[i];
    }
    finish<Width>(k, sum, piece.row, c);
  });
}

/// A group a listed row. The pieces of a long row are added as join_pieces adds them.
template <int Width, int Lanes, class T>
__global__ void sum_listed(Problem<T> k, View<const std::int32_t, 1> list) {
  const std::int64_t n = group_task<Lanes>();
  if (n >= list.extent(0)) return;
  const std::int32_t r = list[n];
  const bool inside = r >= 0 && r < k.rows;
  if (!inside) report_fault(k.status, DeviceFault::kIdOutOfRange, DeviceOperation::kSpmm, r, k.rows);
  const Range edges = inside ? edges_of(k, r) : Range{0, 0};
  const float scale = inside && k.out_scale != nullptr ? k.out_scale[r] : 1.0f;
  for_columns<Lanes, Width>(k.x.cols(), [&](std::int64_t c) {
    float sum[Width] = {};
    add_neighbors<Width>(sum, k, edges.begin, min(edges.end, edges.begin + kPiece), c);
    for (std::int64_t begin = edges.begin + kPiece; begin < edges.end; begin += kPiece) {
      float next[Width] = {};
      add_neighbors<Width>(next, k, begin, min(edges.end, begin + kPiece), c);
#pragma unroll
      for (int i = 0; i < Width; ++i) sum[i] += next[i];
    }
#pragma unroll
    for (int i = 0; i < Width; ++i) sum[i] *= scale;
    store_floats<Width>(k.y.row(n) + c, sum);
  });
}

/// f.operator()<columns of one access, threads of a group>() for rows of `cols` elements.
template <class T, class F>
void with_groups(std::int64_t cols, bool vectors, const F& f) {
  constexpr int kWidth = kRowWidth<T, float>;
  if (!vectors) {
    f.template operator()<1, kWarpSize>();
  } else if (cols > 16 * kWidth) {
    f.template operator()<kWidth, 32>();
  } else if (cols > 8 * kWidth) {
    f.template operator()<kWidth, 16>();
  } else {
    f.template operator()<kWidth, 8>();
  }
}

template <int Width, int Lanes, class T>
void run_listed(CudaContext& ctx, const Problem<T>& k, View<const std::int32_t, 1> list) {
  constexpr std::int64_t kGroups = kThreads / Lanes;
  launch(sum_listed<Width, Lanes, T>, (list.extent(0) + kGroups - 1) / kGroups, kThreads, 0, ctx.stream(), k, list);
}

template <int Width, int Lanes, class T>
void run(CudaContext& ctx, const Problem<T>& k) {
  constexpr std::int64_t kGroups = kThreads / Lanes;
  const auto blocks = [](std::int64_t groups) { return (groups + kGroups - 1) / kGroups; };
  launch(sum_rows<Width, Lanes, T>, blocks(k.rows), kThreads, 0, ctx.stream(), k);
  if (k.partial.rows() == 0) return;
  launch(sum_pieces<Width, Lanes, T>, blocks(k.partial.rows()), kThreads, 0, ctx.stream(), k);
  launch(join_pieces<Width, Lanes, T>, blocks(k.partial.rows()), kThreads, 0, ctx.stream(), k);
}

}  // namespace

template <class T>
void spmm(CudaContext& ctx, View<T, 2> y, View<Acc<T>, 2> total, const CsrView& graph, ConstView<T, 2> x,
          ConstView<Acc<T>, 1> out_scale, ConstView<Acc<T>, 1> in_scale, Accumulate accumulate) {
  const std::int64_t rows = graph.row_ptr.extent(0) - 1, cols = x.cols(), edges = graph.col_idx.extent(0);
  const bool only_total = !y && total && accumulate == Accumulate::kOverwrite;
  GALREC_CHECK(rows >= 0 && (only_total || (y.rows() == rows && y.cols() == cols)), "y is ({}, {}), expected ({}, {})",
               y.rows(), y.cols(), rows, cols);
  GALREC_CHECK(!total || (total.rows() == rows && total.cols() == cols), "total is ({}, {}), expected ({}, {})",
               total.rows(), total.cols(), rows, cols);
  GALREC_CHECK(!out_scale || out_scale.extent(0) == rows, "out_scale ({}) for {} rows", out_scale.extent(0), rows);
  GALREC_CHECK(!in_scale || in_scale.extent(0) == x.rows(), "in_scale ({}) for {} rows", in_scale.extent(0), x.rows());
  GALREC_CHECK(y.data != x.data || y.empty(), "y aliases x");
  GALREC_CHECK(
      edges <= std::numeric_limits<std::int32_t>::max() && x.rows() <= std::numeric_limits<std::int32_t>::max(),
      "{} edges, {} rows of x", edges, x.rows());
  if (rows == 0 || cols == 0) return;
  constexpr int kWidth = kRowWidth<T, float>;
  // A row longer than a piece needs more edges than a piece has.
  const std::int64_t slots = edges > kPiece ? 2 * ((edges + kPiece - 1) / kPiece) : 0;
  ScratchScope scratch(ctx.scratch());
  const std::int64_t stride = (cols + kWidth - 1) / kWidth * kWidth;
  const View<float, 2> partial(scratch->alloc<float>(slots * stride), {slots, cols}, {stride, 1});
  const Problem<T> k{y,     total, partial,        graph.row_ptr.data, graph.col_idx.data, rows,
                     edges, x,     out_scale.data, in_scale.data,      accumulate,         ctx.status()};
  with_groups<T>(cols, all_in_vectors(kWidth, y, total, x), [&]<int kGroupWidth, int kLanes>() { run<kGroupWidth, kLanes>(ctx, k); });
}

template <class T>
void spmm_rows(CudaContext& ctx, View<T, 2> y, const CsrView& graph, View<const std::int32_t, 1> rows, ConstView<T, 2> x,
               ConstView<Acc<T>, 1> out_scale, ConstView<Acc<T>, 1> in_scale) {
  const std::int64_t all = graph.row_ptr.extent(0) - 1, cols = x.cols();
  GALREC_CHECK(all >= 0 && y.rows() == rows.extent(0) && y.cols() == cols, "y is ({}, {}), expected ({}, {})", y.rows(),
               y.cols(), rows.extent(0), cols);
  GALREC_CHECK(!out_scale || out_scale.extent(0) == all, "out_scale ({}) for {} rows", out_scale.extent(0), all);
  GALREC_CHECK(!in_scale || in_scale.extent(0) == x.rows(), "in_scale ({}) for {} rows", in_scale.extent(0), x.rows());
  GALREC_CHECK(y.data != x.data || y.empty(), "y aliases x");
  GALREC_CHECK(x.rows() <= std::numeric_limits<std::int32_t>::max(), "{} rows of x", x.rows());
  if (rows.extent(0) == 0 || cols == 0) return;
  const Problem<T> k{.y = y,
                     .total = {},
                     .partial = {},
                     .row_ptr = graph.row_ptr.data,
                     .col_idx = graph.col_idx.data,
                     .rows = all,
                     .edges = graph.col_idx.extent(0),
                     .x = x,
                     .out_scale = out_scale.data,
                     .in_scale = in_scale.data,
                     .accumulate = Accumulate::kOverwrite,
                     .status = ctx.status()};
  with_groups<T>(cols, all_in_vectors(kRowWidth<T, float>, y, x),
                 [&]<int kGroupWidth, int kLanes>() { run_listed<kGroupWidth, kLanes>(ctx, k, rows); });
}

#define GALREC_INSTANTIATE(T)                                                                       \
  template void spmm<T>(CudaContext&, View<T, 2>, View<Acc<T>, 2>, const CsrView&, ConstView<T, 2>, \
                        ConstView<Acc<T>, 1>, ConstView<Acc<T>, 1>, Accumulate);            \
  template void spmm_rows<T>(CudaContext&, View<T, 2>, const CsrView&, View<const std::int32_t, 1>, ConstView<T, 2>, \
                             ConstView<Acc<T>, 1>, ConstView<Acc<T>, 1>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
