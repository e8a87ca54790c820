#include "kernels/common/elementwise.h"

#include <type_traits>

#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

template <int Width, class T>
struct Fill {
  View<T, 2> y;
  float value;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float v[Width];
#pragma unroll
    for (int i = 0; i < Width; ++i) v[i] = value;
    store_floats<Width>(y.row(row) + column, v);
  }
};

template <int Width, class To, class From>
struct ScaledCopy {
  View<To, 2> y;
  View<const From, 2> x;
  float alpha;
  const float* device_alpha;  // replaces alpha unless null
  Accumulate accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const float factor = device_alpha != nullptr ? *device_alpha : alpha;
    float v[Width];
    load_floats<Width>(x.row(row) + column, v);
#pragma unroll
    for (int i = 0; i < Width; ++i) v[i] *= factor;
    update_floats<Width>(y.row(row) + column, v, accumulate);
  }
};

// A dense matrix as one row, so that its columns need not be a multiple of a vector.
template <class T>
View<T, 2> as_one_row(const View<T, 2>& v) {
  return View<T, 2>(v.data, {1, v.size()});
}

template <int Width, class To, class From>
void scaled_copy_rows(CudaContext& ctx, View<To, 2> y, View<const From, 2> x, float alpha, const float* device_alpha,
                      Accumulate accumulate) {
  for_pieces<Width>(ctx, y.rows(), y.cols(), ScaledCopy<Width, To, From>{y, x, alpha, device_alpha, accumulate});
}

template <class To, class From>
void scaled_copy(CudaContext& ctx, View<To, 2> y, View<const From, 2> x, float alpha, const float* device_alpha,
                 Accumulate accumulate) {
  GALREC_CHECK(y.shape == x.shape, "y ({}, {}), x ({}, {})", y.rows(), y.cols(), x.rows(), x.cols());
  if (y.size() == 0) return;
  if (y.is_dense() && x.is_dense()) {
    y = as_one_row(y);
    x = as_one_row(x);
  }
  constexpr int kWidth = kRowWidth<To, From>;
  if (all_in_vectors(kWidth, y, x)) {
    scaled_copy_rows<kWidth>(ctx, y, x, alpha, device_alpha, accumulate);
  } else {
    scaled_copy_rows<1>(ctx, y, x, alpha, device_alpha, accumulate);
  }
}

}  // namespace

template <class T>
void fill(CudaContext& ctx, View<T, 2> y, double value) {
  if (y.size() == 0) return;
  if (y.is_dense()) y = as_one_row(y);
  constexpr int kWidth = kRowWidth<T>;
  const float v = static_cast<float>(value);
  if (all_in_vectors(kWidth, y)) {
    for_pieces<kWidth>(ctx, y.rows(), y.cols(), Fill<kWidth, T>{y, v});
  } else {
    for_pieces<1>(ctx, y.rows(), y.cols(), Fill<1, T>{y, v});
  }
}

template <class T>
void add_scaled(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, double alpha, Accumulate accumulate) {
  if (alpha == 1 && accumulate == Accumulate::kOverwrite && y.data == x.data && y.stride == x.stride && y.shape == x.shape) return;
  scaled_copy<T, T>(ctx, y, x, static_cast<float>(alpha), nullptr, accumulate);
}

template <class T>
void add_scaled(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<Acc<T>, 1> alpha, Accumulate accumulate) {
  GALREC_CHECK(alpha.size() == 1, "a factor of {} elements", alpha.size());
  scaled_copy<T, T>(ctx, y, x, 1.0f, alpha.data, accumulate);
}

template <class To, class From>
void convert(CudaContext& ctx, View<To, 2> y, ConstView<From, 2> x, Accumulate accumulate) {
  scaled_copy<To, From>(ctx, y, x, 1.0f, nullptr, accumulate);
}

template <class T>
double read_scalar(CudaContext& ctx, View<T, 2> x) {
  GALREC_CHECK(x.size() > 0);
  T value;
  ctx.memory().download(&value, x.data, sizeof(T));
  ctx.check_status();
  return static_cast<double>(static_cast<float>(value));
}

#define GALREC_INSTANTIATE(T)                                                                               \
  template void fill<T>(CudaContext&, View<T, 2>, double);                                                  \
  template void add_scaled<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, double, Accumulate);               \
  template void add_scaled<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ConstView<Acc<T>, 1>, Accumulate); \
  template double read_scalar<T>(CudaContext&, View<T, 2>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

#define GALREC_INSTANTIATE(To, From) template void convert<To, From>(CudaContext&, View<To, 2>, ConstView<From, 2>, Accumulate);
GALREC_INSTANTIATE(float, float)
GALREC_INSTANTIATE(float, bfloat16)
GALREC_INSTANTIATE(bfloat16, float)
GALREC_INSTANTIATE(bfloat16, bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
