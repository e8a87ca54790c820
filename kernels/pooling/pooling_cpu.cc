#include "kernels/pooling/pooling.h"

#include <cmath>

#include "kernels/common/rows.h"

namespace galrec {

namespace {

constexpr double kEps = 1e-12;  // torch.nn.functional.normalize

template <class A, class B>
void check_segments(const A& segments, const B& rows, View<const std::int32_t, 1> cu) {
  GALREC_CHECK(segments.cols() == rows.cols(), "({}, {}) and ({}, {})", segments.rows(), segments.cols(), rows.rows(),
               rows.cols());
  GALREC_CHECK(cu.extent(0) == segments.rows() + 1, "{} offsets for {} segments", cu.extent(0), segments.rows());
  GALREC_CHECK(cu[0] == 0 && cu[segments.rows()] == rows.rows(), "segments [{}, {}) of {} rows", cu[0],
               cu[segments.rows()], rows.rows());
  for (std::int64_t s = 0; s < segments.rows(); ++s) {
    GALREC_CHECK(cu[s] <= cu[s + 1], "segment {} is [{}, {})", s, cu[s], cu[s + 1]);
  }
}

// Segments per chunk, from their mean length.
template <class T>
std::int64_t segment_grain(std::int64_t segments, std::int64_t rows, std::int64_t cols) {
  return row_grain<T>(cols * std::max<std::int64_t>(1, rows / std::max<std::int64_t>(segments, 1)));
}

}  // namespace

template <class T>
void segment_mean_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, View<const std::int32_t, 1> cu) {
  check_segments(y, x, cu);
  const std::int64_t cols = y.cols();
  parallel_for(ctx, y.rows(), segment_grain<T>(y.rows(), x.rows(), cols),
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t s = begin; s < end; ++s) {
                   T* out = y.row(s);
                   std::fill_n(out, cols, T(0));
                   if (cu[s] == cu[s + 1]) continue;
                   for (std::int64_t n = cu[s]; n < cu[s + 1]; ++n) {
                     const T* from = x.row(n);
#pragma omp simd
                     for (std::int64_t c = 0; c < cols; ++c) out[c] += from[c];
                   }
                   const T share = T(1) / static_cast<T>(cu[s + 1] - cu[s]);
#pragma omp simd
                   for (std::int64_t c = 0; c < cols; ++c) out[c] *= share;
                 }
               });
}

template <class T>
void segment_mean_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, View<const std::int32_t, 1> cu,
                           Accumulate accumulate) {
  check_segments(dy, dx, cu);
  const std::int64_t cols = dy.cols();
  parallel_for(ctx, dy.rows(), segment_grain<T>(dy.rows(), dx.rows(), cols),
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t s = begin; s < end; ++s) {
                   const T* g = dy.row(s);
                   const T share = T(1) / static_cast<T>(cu[s + 1] - cu[s]);  // unused where the segment is empty
                   for (std::int64_t n = cu[s]; n < cu[s + 1]; ++n) {
                     T* out = dx.row(n);
                     if (accumulate == Accumulate::kAdd) {
#pragma omp simd
                       for (std::int64_t c = 0; c < cols; ++c) out[c] += share * g[c];
                     } else {
#pragma omp simd
                       for (std::int64_t c = 0; c < cols; ++c) out[c] = share * g[c];
                     }
                   }
                 }
               });
}

template <class T>
void l2_normalize_forward(CpuContext& ctx, View<T, 2> y, View<T, 1> norm, ConstView<T, 2> x) {
  const std::int64_t cols = x.cols();
  GALREC_CHECK(same_shape(y, x) && norm.extent(0) == x.rows(), "y ({}, {}), norm ({}), x ({}, {})", y.rows(), y.cols(),
               norm.extent(0), x.rows(), cols);
  parallel_for(ctx, x.rows(), row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const T* from = x.row(n);
      T* out = y.row(n);
      const T length = std::sqrt(lane_sum<T>(cols, [from](std::int64_t c) { return from[c] * from[c]; }));
      norm[n] = length < static_cast<T>(kEps) ? static_cast<T>(kEps) : length;  // a NaN stays one
      const T scale = T(1) / norm[n];
#pragma omp simd
      for (std::int64_t c = 0; c < cols; ++c) out[c] = from[c] * scale;
    }
  });
}

template <class T>
void l2_normalize_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> y, ConstView<T, 1> norm,
                           Accumulate accumulate) {
  const std::int64_t cols = y.cols();
  GALREC_CHECK(same_shape(dx, y) && same_shape(dy, y) && norm.extent(0) == y.rows(),
               "dx ({}, {}), dy ({}, {}), y ({}, {}), norm ({})", dx.rows(), dx.cols(), dy.rows(), dy.cols(), y.rows(),
               cols, norm.extent(0));
  parallel_for(ctx, y.rows(), row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const T* yn = y.row(n);
      const T* g = dy.row(n);
      T* out = dx.row(n);
      const T scale = T(1) / norm[n];
      // A row that was shorter than eps was divided by a constant.
      const T along =
          norm[n] > static_cast<T>(kEps) ? lane_sum<T>(cols, [yn, g](std::int64_t c) { return yn[c] * g[c]; }) : T(0);
      if (accumulate == Accumulate::kAdd) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) out[c] += (g[c] - yn[c] * along) * scale;
      } else {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) out[c] = (g[c] - yn[c] * along) * scale;
      }
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                        \
  template void segment_mean_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>);      \
  template void segment_mean_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>,      \
                                         Accumulate);                                                                \
  template void l2_normalize_forward<T>(CpuContext&, View<T, 2>, View<T, 1>, ConstView<T, 2>);                       \
  template void l2_normalize_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, \
                                         Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
