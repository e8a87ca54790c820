#include "kernels/pooling/pooling.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/row_slabs.h"

namespace galrec {

namespace {

constexpr double kNormEps = 1e-12;

void check_offsets(View<const std::int32_t, 1> cu, std::int64_t rows) {
  GALREC_CHECK(cu.extent(0) >= 1 && cu[0] == 0 && cu[cu.extent(0) - 1] == rows, "offsets do not span {} rows", rows);
  for (std::int64_t s = 1; s < cu.extent(0); ++s) GALREC_CHECK(cu[s] >= cu[s - 1], "offset {} falls", s);
}

}  // namespace

template <class T>
void segment_mean_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, View<const std::int32_t, 1> cu) {
  const std::int64_t segments = cu.extent(0) - 1, c = x.cols();
  GALREC_CHECK(y.rows() == segments && y.cols() == c, "y is ({}, {}), expected ({}, {})", y.rows(), y.cols(), segments, c);
  check_offsets(cu, x.rows());
  parallel_for(ctx, segments, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t s = begin; s < end; ++s) {
      T* out = y.row(s);
      std::fill_n(out, c, T(0));
      for (std::int64_t r = cu[s]; r < cu[s + 1]; ++r) add_or_store(out, x.row(r), c, true);
      const T share = cu[s + 1] > cu[s] ? T(1) / static_cast<T>(cu[s + 1] - cu[s]) : T(0);
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] *= share;
    }
  });
}

template <class T>
void segment_mean_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, View<const std::int32_t, 1> cu, Accumulate accumulate) {
  const std::int64_t segments = cu.extent(0) - 1, c = dx.cols();
  GALREC_CHECK(dy.rows() == segments && dy.cols() == c, "dy is ({}, {}), expected ({}, {})", dy.rows(), dy.cols(), segments, c);
  check_offsets(cu, dx.rows());
  const bool add = accumulate == Accumulate::kAdd;
  parallel_for(ctx, segments, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t s = begin; s < end; ++s) {
      const T* g = dy.row(s);
      const T share = cu[s + 1] > cu[s] ? T(1) / static_cast<T>(cu[s + 1] - cu[s]) : T(0);
      for (std::int64_t r = cu[s]; r < cu[s + 1]; ++r) {
        T* out = dx.row(r);
        if (add) {
#pragma omp simd
          for (std::int64_t i = 0; i < c; ++i) out[i] += share * g[i];
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < c; ++i) out[i] = share * g[i];
        }
      }
    }
  });
}

template <class T>
void l2_normalize_forward(CpuContext& ctx, View<T, 2> y, View<T, 1> norm, ConstView<T, 2> x) {
  const std::int64_t n = x.rows(), c = x.cols();
  GALREC_CHECK(y.rows() == n && y.cols() == c && norm.extent(0) == n, "y ({}, {}), norm ({}) for x ({}, {})", y.rows(), y.cols(), norm.extent(0), n, c);
  parallel_for(ctx, n, rows_per_chunk(c), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* in = x.row(r);
      T square = 0;
#pragma omp simd reduction(+ : square)
      for (std::int64_t i = 0; i < c; ++i) square += in[i] * in[i];
      const T length = std::sqrt(square);
      norm[r] = length < static_cast<T>(kNormEps) ? static_cast<T>(kNormEps) : length;  // NaN stays NaN
      const T inverse = T(1) / norm[r];
      T* out = y.row(r);
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] = in[i] * inverse;
    }
  });
}

template <class T>
void l2_normalize_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> y, ConstView<T, 1> norm, Accumulate accumulate) {
  const std::int64_t n = y.rows(), c = y.cols();
  GALREC_CHECK(dx.rows() == n && dx.cols() == c && dy.rows() == n && dy.cols() == c && norm.extent(0) == n, "gradients for ({}, {})", n, c);
  const bool add = accumulate == Accumulate::kAdd;
  parallel_for(ctx, n, rows_per_chunk(c), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *g = dy.row(r), *unit = y.row(r);
      T dot = 0;
#pragma omp simd reduction(+ : dot)
      for (std::int64_t i = 0; i < c; ++i) dot += g[i] * unit[i];
      // Below eps the norm is a constant, and nothing is projected out.
      const T along = norm[r] > static_cast<T>(kNormEps) ? dot : T(0);
      const T inverse = T(1) / norm[r];
      T* out = dx.row(r);
      if (add) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) out[i] += (g[i] - unit[i] * along) * inverse;
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) out[i] = (g[i] - unit[i] * along) * inverse;
      }
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                                   \
  template void segment_mean_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>);                 \
  template void segment_mean_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, View<const std::int32_t, 1>, Accumulate);    \
  template void l2_normalize_forward<T>(CpuContext&, View<T, 2>, View<T, 1>, ConstView<T, 2>);                                  \
  template void l2_normalize_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
