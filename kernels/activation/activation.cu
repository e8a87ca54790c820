#include "kernels/activation/activation.h"

#include <tuple>

#include "kernels/activation/activation_functions.cuh"
#include "kernels/common/dropout_device.h"
#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

// Every body handles Width columns of one row; Function gives value and slope.

struct MaskedRows {
  DropoutMask mask;
  std::uint64_t stride;

  MaskedRows(const Dropout& dropout, std::int64_t cols) : mask(dropout), stride(dropout_row_stride(cols)) {}
  template <int Width>
  __device__ __forceinline__ void apply(std::int64_t row, std::int64_t column, float (&v)[Width]) const {
    if (!mask.active()) return;
    float m[Width];
    dropout_multipliers<Width>(mask, static_cast<std::uint64_t>(row) * stride + static_cast<std::uint64_t>(column), m);
#pragma unroll
    for (int i = 0; i < Width; ++i) v[i] *= m[i];
  }
};

template <int Width, class T, class Function>
struct Forward {
  View<T, 2> y;
  View<const T, 2> x;
  MaskedRows masked;
  Accumulate accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float v[Width];
    load_floats<Width>(x.row(row) + column, v);
#pragma unroll
    for (int i = 0; i < Width; ++i) v[i] = Function::value(v[i]);
    masked.apply(row, column, v);
    update_floats<Width>(y.row(row) + column, v, accumulate);
  }
};

template <int Width, class T, class Function>
struct Backward {
  View<T, 2> dx;
  View<const T, 2> dy, x;
  MaskedRows masked;
  Accumulate accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float v[Width], g[Width];
    load_floats<Width>(x.row(row) + column, v);
    load_floats<Width>(dy.row(row) + column, g);
    masked.apply(row, column, g);
#pragma unroll
    for (int i = 0; i < Width; ++i) g[i] *= Function::both(v[i]).slope;
    update_floats<Width>(dx.row(row) + column, g, accumulate);
  }
};

template <int Width, class T, class Function>
struct GatedForward {
  View<T, 2> y;
  View<const T, 2> a, b;
  MaskedRows masked;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float v[Width], gate[Width];
    load_floats<Width>(a.row(row) + column, v);
    load_floats<Width>(b.row(row) + column, gate);
#pragma unroll
    for (int i = 0; i < Width; ++i) v[i] = Function::value(v[i]) * gate[i];
    masked.apply(row, column, v);
    store_floats<Width>(y.row(row) + column, v);
  }
};

template <int Width, class T, class Function>
struct GatedBackward {
  View<T, 2> da, db;
  View<const T, 2> dy, a, b;
  MaskedRows masked;
  Accumulate accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float v[Width], gate[Width], g[Width];
    load_floats<Width>(a.row(row) + column, v);
    load_floats<Width>(b.row(row) + column, gate);
    load_floats<Width>(dy.row(row) + column, g);
    masked.apply(row, column, g);
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      const ValueSlope at = Function::both(v[i]);
      v[i] = g[i] * gate[i] * at.slope;
      g[i] *= at.value;
    }
    update_floats<Width>(da.row(row) + column, v, accumulate);
    update_floats<Width>(db.row(row) + column, g, accumulate);
  }
};

template <class F>
void with_function(ActivationKind kind, F&& f) {
  switch (kind) {
    case ActivationKind::kIdentity:
      return f(Identity{});
    case ActivationKind::kRelu:
      return f(Relu{});
    case ActivationKind::kGeluTanh:
      return f(GeluTanh{});
    case ActivationKind::kGeluErf:
      return f(GeluErf{});
  }
  GALREC_CHECK(false, "activation {}", static_cast<int>(kind));
}

// Runs Body<Width, T, Function> in vectors where all of `views` allow it. The first view has the shape.
template <template <int, class, class> class Body, class T, class... Views, class... Rest>
void run(CudaContext& ctx, ActivationKind kind, const std::tuple<Views...>& views, const Rest&... rest) {
  constexpr int kWidth = kRowWidth<T>;
  const auto& shape = std::get<0>(views).shape;
  const bool vectors = std::apply([](const auto&... v) { return all_in_vectors(kWidth, v...); }, views);
  with_function(kind, [&](auto function) {
    using Function = decltype(function);
    std::apply(
        [&](const auto&... v) {
          if (vectors) {
            for_pieces<kWidth>(ctx, shape[0], shape[1], Body<kWidth, T, Function>{v..., rest...});
          } else {
            for_pieces<1>(ctx, shape[0], shape[1], Body<1, T, Function>{v..., rest...});
          }
        },
        views);
  });
}

}  // namespace

template <class T>
void activation_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, ActivationKind kind, const Dropout& dropout) {
  GALREC_CHECK(y.shape == x.shape, "y ({}, {}), x ({}, {})", y.rows(), y.cols(), x.rows(), x.cols());
  run<Forward, T>(ctx, kind, std::tuple(y, x), MaskedRows(dropout, y.cols()), Accumulate::kOverwrite);
}

template <class T>
void activation_backward(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> x, ActivationKind kind,
                         const Dropout& dropout, Accumulate accumulate) {
  GALREC_CHECK(dx.shape == x.shape && dy.shape == x.shape, "dx ({}, {}), dy ({}, {}), x ({}, {})", dx.rows(), dx.cols(), dy.rows(),
               dy.cols(), x.rows(), x.cols());
  GALREC_CHECK(dx.data != dy.data || accumulate == Accumulate::kOverwrite, "dx is dy: it cannot be added to");
  run<Backward, T>(ctx, kind, std::tuple(dx, dy, x), MaskedRows(dropout, x.cols()), accumulate);
}

template <class T>
void gated_activation_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> a, ConstView<T, 2> b, ActivationKind kind,
                              const Dropout& dropout) {
  GALREC_CHECK(y.shape == a.shape && b.shape == a.shape, "y ({}, {}), a ({}, {}), b ({}, {})", y.rows(), y.cols(), a.rows(),
               a.cols(), b.rows(), b.cols());
  run<GatedForward, T>(ctx, kind, std::tuple(y, a, b), MaskedRows(dropout, a.cols()));
}

template <class T>
void gated_activation_backward(CudaContext& ctx, View<T, 2> da, View<T, 2> db, ConstView<T, 2> dy, ConstView<T, 2> a,
                               ConstView<T, 2> b, ActivationKind kind, const Dropout& dropout, Accumulate accumulate) {
  GALREC_CHECK(da.shape == a.shape && db.shape == a.shape && dy.shape == a.shape && b.shape == a.shape,
               "da ({}, {}), db ({}, {}), dy ({}, {}), a ({}, {}), b ({}, {})", da.rows(), da.cols(), db.rows(), db.cols(),
               dy.rows(), dy.cols(), a.rows(), a.cols(), b.rows(), b.cols());
  GALREC_CHECK(!dy || (da.data != dy.data && db.data != dy.data), "da or db is dy");
  run<GatedBackward, T>(ctx, kind, std::tuple(da, db, dy, a, b), MaskedRows(dropout, a.cols()), accumulate);
}

template <class T>
void dropout_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, const Dropout& dropout, Accumulate accumulate) {
  GALREC_CHECK(y.shape == x.shape, "y ({}, {}), x ({}, {})", y.rows(), y.cols(), x.rows(), x.cols());
  GALREC_CHECK(y.data != x.data || accumulate == Accumulate::kOverwrite, "y is x: it cannot be added to");
  run<Forward, T>(ctx, ActivationKind::kIdentity, std::tuple(y, x), MaskedRows(dropout, y.cols()), accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                                      \
  template void activation_forward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ActivationKind, const Dropout&);                  \
  template void activation_backward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ActivationKind, const Dropout&, \
                                       Accumulate);                                                                                \
  template void gated_activation_forward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ActivationKind,            \
                                            const Dropout&);                                                                       \
  template void gated_activation_backward<T>(CudaContext&, View<T, 2>, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>,               \
                                             ConstView<T, 2>, ActivationKind, const Dropout&, Accumulate);                         \
  template void dropout_forward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, const Dropout&, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
