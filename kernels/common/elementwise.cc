#include "kernels/common/elementwise.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

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
void add_scaled(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<Acc<T>, 1> alpha, Accumulate accumulate) {
  GALREC_CHECK(alpha.size() == 1, "a factor of {} elements", alpha.size());
  add_scaled<T>(ctx, y, x, static_cast<double>(alpha[0]), accumulate);
}

template <class To, class From>
void convert(CpuContext& ctx, View<To, 2> y, ConstView<From, 2> x, Accumulate accumulate) {
  if constexpr (std::is_same_v<To, From> && !std::is_same_v<To, bfloat16>) {
    add_scaled<To>(ctx, y, x, 1, accumulate);
  } else {
    GALREC_CHECK(y.shape == x.shape, "y ({}, {}), x ({}, {})", y.rows(), y.cols(), x.rows(), x.cols());
    parallel_for(ctx, y.rows(), row_grain(y.cols()), [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        To* to = y.row(r);
        const From* from = x.row(r);
        for (std::int64_t c = 0; c < y.cols(); ++c) {
          const float before = accumulate == Accumulate::kAdd ? static_cast<float>(to[c]) : 0.0f;
          to[c] = static_cast<To>(before + static_cast<float>(from[c]));
        }
      }
    });
  }
}

template <class T>
double read_scalar(CpuContext&, View<T, 2> x) {
  GALREC_CHECK(x.size() > 0);
  return static_cast<double>(x(0, 0));
}

#define GALREC_INSTANTIATE(T)                                                                                      \
  template void fill<T>(CpuContext&, View<T, 2>, double);                                                          \
  template void add_scaled<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, double, Accumulate);                       \
  template void add_scaled<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<Acc<T>, 1>, Accumulate);         \
  template void convert<T, T>(CpuContext&, View<T, 2>, ConstView<T, 2>, Accumulate);                               \
  template double read_scalar<T>(CpuContext&, View<T, 2>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE
template void convert<float, bfloat16>(CpuContext&, View<float, 2>, ConstView<bfloat16, 2>, Accumulate);
template void convert<bfloat16, float>(CpuContext&, View<bfloat16, 2>, ConstView<float, 2>, Accumulate);

}  // namespace galrec
