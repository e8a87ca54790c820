// Means of segments: a thread has a piece of the columns of one segment and walks its rows in order, so a block reads whole rows.

#include "kernels/pooling/pooling.h"

#include "kernels/common/device_status.h"
#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

struct Segments {
  View<const std::int32_t, 1> cu;
  std::int64_t rows;
  DeviceStatus* status;

  struct Range {
    std::int64_t begin, end;
  };
  /// The rows of segment s; none, and a report from the segment's first thread, where the offsets cannot be true.
  __device__ __forceinline__ Range range(std::int64_t s, std::int64_t column) const {
    const std::int64_t begin = cu[s], end = cu[s + 1], last = cu.extent(0) - 2;
    if (column == 0) {
      const auto expect_below = [&](std::int64_t value, std::int64_t limit) {
        if (value < 0 || value >= limit) {
          report_fault(status, DeviceFault::kOffsetsOutOfOrder, DeviceOperation::kPooling, value, limit);
        }
      };
      if (s == 0) expect_below(begin, 1);
      expect_below(begin, end + 1);
      expect_below(end, rows + 1);
      if (s == last && end < rows) report_fault(status, DeviceFault::kOffsetsOutOfOrder, DeviceOperation::kPooling, rows, end + 1);
    }
    if (begin < 0 || end < begin || end > rows) return {0, 0};
    return {begin, end};
  }
};

template <int Width, class T>
struct MeanForward {
  View<T, 2> y;
  View<const T, 2> x;
  Segments segments;

  __device__ void operator()(std::int64_t s, std::int64_t column) const {
    const auto [begin, end] = segments.range(s, column);
    float total[Width] = {};
#pragma unroll 4
    for (std::int64_t n = begin; n < end; ++n) {
      float v[Width];
      load_floats<Width>(x.row(n) + column, v);
#pragma unroll
      for (int i = 0; i < Width; ++i) total[i] += v[i];
    }
    const float share = end > begin ? __fdividef(1.0f, static_cast<float>(end - begin)) : 0.0f;
#pragma unroll
    for (int i = 0; i < Width; ++i) total[i] *= share;
    store_floats<Width>(y.row(s) + column, total);
  }
};

template <int Width, class T>
struct MeanBackward {
  View<T, 2> dx;
  View<const T, 2> dy;
  Segments segments;
  Accumulate accumulate;

  __device__ void operator()(std::int64_t s, std::int64_t column) const {
    const auto [begin, end] = segments.range(s, column);
    if (begin == end) return;
    float g[Width];
    load_floats<Width>(dy.row(s) + column, g);
    const float share = __fdividef(1.0f, static_cast<float>(end - begin));
#pragma unroll
    for (int i = 0; i < Width; ++i) g[i] *= share;
#pragma unroll 4
    for (std::int64_t n = begin; n < end; ++n) {
      float out[Width];
#pragma unroll
      for (int i = 0; i < Width; ++i) out[i] = g[i];
      update_floats<Width>(dx.row(n) + column, out, accumulate);
    }
  }
};

template <class A, class B>
Segments segments_of(CudaContext& ctx, const A& segments, const B& rows, View<const std::int32_t, 1> cu) {
  GALREC_CHECK(segments.cols() == rows.cols(), "({}, {}) and ({}, {})", segments.rows(), segments.cols(), rows.rows(), rows.cols());
  GALREC_CHECK(cu.extent(0) == segments.rows() + 1, "{} offsets for {} segments", cu.extent(0), segments.rows());
  return {cu, rows.rows(), ctx.status()};
}

}  // namespace

template <class T>
void segment_mean_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, View<const std::int32_t, 1> cu) {
  const Segments segments = segments_of(ctx, y, x, cu);
  constexpr int kWidth = kRowWidth<T>;
  if (all_in_vectors(kWidth, y, x)) {
    for_pieces<kWidth>(ctx, y.rows(), y.cols(), MeanForward<kWidth, T>{y, x, segments});
  } else {
    for_pieces<1>(ctx, y.rows(), y.cols(), MeanForward<1, T>{y, x, segments});
  }
}

template <class T>
void segment_mean_backward(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, View<const std::int32_t, 1> cu,
                           Accumulate accumulate) {
  const Segments segments = segments_of(ctx, dy, dx, cu);
  constexpr int kWidth = kRowWidth<T>;
  if (all_in_vectors(kWidth, dx, dy)) {
    for_pieces<kWidth>(ctx, dy.rows(), dy.cols(), MeanBackward<kWidth, T>{dx, dy, segments, accumulate});
  } else {
    for_pieces<1>(ctx, dy.rows(), dy.cols(), MeanBackward<1, T>{dx, dy, segments, accumulate});
  }
}

#define GALREC_INSTANTIATE(T)                                                                                    \
  template void segment_mean_forward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>); \
  template void segment_mean_backward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
