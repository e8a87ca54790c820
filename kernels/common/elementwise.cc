#include "kernels/common/elementwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

namespace galrec {

namespace {

// Enough elements per chunk that starting a thread is worth it.
std::int64_t row_grain(std::int64_t cols) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(cols, 1));
}

}  // namespace

template <class T>
void fill(CpuContext& ctx, View<T, 2> y, double value) {
  const T v = static_cast<T>(value);
  parallel_for(ctx, y.rows(), row_grain(y.cols()), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) std::fill_n(y.row(r), y.cols(), v);
  });
}

template <class T>
void add_scaled(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, double alpha, Accumulate accumulate) {
  GALREC_CHECK(y.shape == x.shape, "y ({}, {}), x ({}, {})", y.rows(), y.cols(), x.rows(), x.cols());
  const T a = static_cast<T>(alpha);
  const std::int64_t cols = y.cols();
  parallel_for(ctx, y.rows(), row_grain(cols), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      T* to = y.row(r);
      const T* from = x.row(r);
      if (accumulate == Accumulate::kAdd) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) to[c] += a * from[c];
      } else if (a != T(1)) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) to[c] = a * from[c];
      } else if (to != from) {
        std::memcpy(to, from, static_cast<std::size_t>(cols) * sizeof(T));
      }
    }
  });
}

template <class T>
double read_scalar(CpuContext&, View<T, 2> x) {
  GALREC_CHECK(x.size() > 0);
  return static_cast<double>(x(0, 0));
}

template void fill<float>(CpuContext&, View<float, 2>, double);
template void fill<double>(CpuContext&, View<double, 2>, double);
template void add_scaled<float>(CpuContext&, View<float, 2>, ConstView<float, 2>, double, Accumulate);
template void add_scaled<double>(CpuContext&, View<double, 2>, ConstView<double, 2>, double, Accumulate);
template double read_scalar<float>(CpuContext&, View<float, 2>);
template double read_scalar<double>(CpuContext&, View<double, 2>);

}  // namespace galrec
