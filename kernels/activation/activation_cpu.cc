#include "kernels/activation/activation.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/row_slabs.h"
#include "kernels/common/vec_math.h"

namespace galrec {

namespace {

// Each kind as a value and a derivative, resolved at compile time so that the loops over a row vectorise.
struct Identity {
  template <class T>
  static T value(T x) { return x; }
  template <class T>
  static T slope(T) { return T(1); }
};
struct Relu {
  template <class T>
  static T value(T x) { return x > T(0) ? x : (x == x ? T(0) : x); }  // NaN stays NaN
  template <class T>
  static T slope(T x) { return x > T(0) ? T(1) : T(0); }
};
struct GeluTanh {
  // tanh(z) = 1 - 2 / (e^{2z} + 1), so that 1/2 (1 + tanh z) = sigmoid(2z).
  template <class T>
  static T gate(T x) { return vec::sigmoid(T(1.5957691216057308) * (x + T(0.044715) * x * x * x)); }
  template <class T>
  static T value(T x) { return x * gate(x); }
  template <class T>
  static T slope(T x) {
    const T s = gate(x);
    return s + x * s * (T(1) - s) * T(1.5957691216057308) * (T(1) + T(0.134145) * x * x);
  }
};
struct GeluErf {
  template <class T>
  static T gate(T x) { return T(0.5) * (T(1) + vec::erf(x * T(0.7071067811865476))); }
  template <class T>
  static T value(T x) { return x * gate(x); }
  template <class T>
  static T slope(T x) { return gate(x) + x * T(0.3989422804014327) * vec::exp(T(-0.5) * x * x); }
};

template <class Body>
void with_kind(ActivationKind kind, Body&& body) {
  switch (kind) {
    case ActivationKind::kIdentity: return body(Identity{});
    case ActivationKind::kRelu: return body(Relu{});
    case ActivationKind::kGeluTanh: return body(GeluTanh{});
    case ActivationKind::kGeluErf: return body(GeluErf{});
  }
  GALREC_CHECK(false, "activation kind {}", static_cast<int>(kind));
}

// Calls body(row, mask) for every row, mask = its dropout multipliers (ones when inactive).
template <class T, class Body>
void for_rows(CpuContext& ctx, std::int64_t n, std::int64_t c, const Dropout& dropout, Body&& body) {
  ScratchScope scratch(ctx.scratch());
  auto masks = scratch->matrix<T>(ctx.threads(), std::max<std::int64_t>(c, 1));
  const bool dropping = dropout.active();
  if (!dropping) std::fill_n(masks.data, masks.size(), T(1));
  const std::uint64_t stride = dropout_row_stride(c);
  parallel_for(ctx, n, rows_per_chunk(c), [&](std::int64_t begin, std::int64_t end, int worker) {
    T* mask = masks.row(worker);
    for (std::int64_t r = begin; r < end; ++r) {
      if (dropping) dropout_multipliers(dropout, static_cast<std::uint64_t>(r) * stride, c, mask);
      body(r, static_cast<const T*>(mask));
    }
  });
}

template <class T>
void check_same(View<const T, 2> a, View<const T, 2> b) {
  GALREC_CHECK(a.rows() == b.rows() && a.cols() == b.cols(), "({}, {}) and ({}, {})", a.rows(), a.cols(), b.rows(), b.cols());
}

}  // namespace

template <class T>
void activation_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, ActivationKind kind, const Dropout& dropout) {
  check_same<T>(y, x);
  const std::int64_t c = x.cols();
  with_kind(kind, [&](auto f) {
    for_rows<T>(ctx, x.rows(), c, dropout, [&](std::int64_t r, const T* mask) {
      const T* in = x.row(r);
      T* out = y.row(r);
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] = mask[i] * f.value(in[i]);
    });
  });
}

template <class T>
void activation_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> x, ActivationKind kind, const Dropout& dropout,
                         Accumulate accumulate) {
  check_same<T>(dx, x);
  check_same<T>(dy, x);
  const std::int64_t c = x.cols();
  const T keep = accumulate == Accumulate::kAdd ? T(1) : T(0);
  with_kind(kind, [&](auto f) {
    for_rows<T>(ctx, x.rows(), c, dropout, [&](std::int64_t r, const T* mask) {
      const T *in = x.row(r), *g = dy.row(r);
      T* out = dx.row(r);
      if (keep == T(0)) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) out[i] = mask[i] * g[i] * f.slope(in[i]);
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) out[i] += mask[i] * g[i] * f.slope(in[i]);
      }
    });
  });
}

template <class T>
void gated_activation_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> a, ConstView<T, 2> b, ActivationKind kind, const Dropout& dropout) {
  check_same<T>(y, a);
  check_same<T>(b, a);
  const std::int64_t c = a.cols();
  with_kind(kind, [&](auto f) {
    for_rows<T>(ctx, a.rows(), c, dropout, [&](std::int64_t r, const T* mask) {
      const T *gate = a.row(r), *up = b.row(r);
      T* out = y.row(r);
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] = mask[i] * f.value(gate[i]) * up[i];
    });
  });
}

template <class T>
void gated_activation_backward(CpuContext& ctx, View<T, 2> da, View<T, 2> db, ConstView<T, 2> dy, ConstView<T, 2> a, ConstView<T, 2> b,
                               ActivationKind kind, const Dropout& dropout, Accumulate accumulate) {
  check_same<T>(da, a);
  check_same<T>(db, a);
  check_same<T>(dy, a);
  check_same<T>(b, a);
  GALREC_CHECK(da.data != dy.data && db.data != dy.data, "da and db must not alias dy");
  const std::int64_t c = a.cols();
  const bool add = accumulate == Accumulate::kAdd;
  with_kind(kind, [&](auto f) {
    for_rows<T>(ctx, a.rows(), c, dropout, [&](std::int64_t r, const T* mask) {
      const T *gate = a.row(r), *up = b.row(r), *g = dy.row(r);
      T *out_a = da.row(r), *out_b = db.row(r);
      if (add) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) {
          const T through = mask[i] * g[i];
          out_a[i] += through * up[i] * f.slope(gate[i]);
          out_b[i] += through * f.value(gate[i]);
        }
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) {
          const T through = mask[i] * g[i];
          out_a[i] = through * up[i] * f.slope(gate[i]);
          out_b[i] = through * f.value(gate[i]);
        }
      }
    });
  });
}

template <class T>
void dropout_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, const Dropout& dropout, Accumulate accumulate) {
  check_same<T>(y, x);
  const std::int64_t c = x.cols();
  const bool add = accumulate == Accumulate::kAdd;
  for_rows<T>(ctx, x.rows(), c, dropout, [&](std::int64_t r, const T* mask) {
    const T* in = x.row(r);
    T* out = y.row(r);
    if (add) {
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] += mask[i] * in[i];
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < c; ++i) out[i] = mask[i] * in[i];
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                                                \
  template void activation_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ActivationKind, const Dropout&);                             \
  template void activation_backward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ActivationKind, const Dropout&, Accumulate); \
  template void gated_activation_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ActivationKind, const Dropout&);      \
  template void gated_activation_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>,         \
                                             ActivationKind, const Dropout&, Accumulate);                                                    \
  template void dropout_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, const Dropout&, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
