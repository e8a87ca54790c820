#include "autograd/ops/linear.h"

#include <vector>

#include "autograd/ops/support.h"
#include "kernels/gemm/gemm.h"

namespace galrec::autograd {

namespace {

constexpr GemmOptions kForward{.b = Transpose::kYes};

/// Several matrices as one below the other, where memory has them so; else empty.
template <class T>
View<T, 2> stacked(const std::vector<View<T, 2>>& parts) {
  std::int64_t rows = 0;
  for (const auto& p : parts) {
    if (!p || !p.is_dense() || p.data != parts[0].data + rows * p.cols()) return {};
    rows += p.rows();
  }
  return View<T, 2>(parts[0].data, {rows, parts[0].cols()});
}

template <class T>
std::vector<View<T, 2>> values(const std::vector<Weight<T>>& weights) {
  std::vector<View<T, 2>> out;
  for (const auto& w : weights) out.push_back(w.value());
  return out;
}

template <class T>
struct Parts {
  std::vector<Weight<T>> weights;
  std::vector<Variable<Acc<T>>> biases;

  std::int64_t out() const {
    std::int64_t n = 0;
    for (const auto& w : weights) n += w.rows();
    return n;
  }
};

template <class Ctx, class T>
void forward(Ctx& ctx, View<T, 2> y, View<T, 2> x, const Parts<T>& parts) {
  if (const auto w = stacked(values<T>(parts.weights))) {
    gemm<T>(ctx, y, x, w, kForward);
  } else {
    std::int64_t first = 0;
    for (const auto& w : parts.weights) {
      gemm<T>(ctx, y.slice_cols(first, w.rows()), x, w.value(), kForward);
      first += w.rows();
    }
  }
  std::int64_t first = 0;
  for (const auto& b : parts.biases) {
    add_bias<T>(ctx, y.slice_cols(first, b.cols()), as_vector(b.value()));
    first += b.cols();
  }
}

template <class Ctx, class T>
void input_gradient(Ctx& ctx, const GradientTarget<T>& dx, View<T, 2> dy, const Parts<T>& parts) {
  if (const auto w = stacked(values<T>(parts.weights))) {
    gemm<T>(ctx, dx.view, dy, w, {.accumulate = dx.accumulate});
    return;
  }
  std::int64_t first = 0;
  for (const auto& w : parts.weights) {
    const auto accumulate = first == 0 ? dx.accumulate : Accumulate::kAdd;
    gemm<T>(ctx, dx.view, dy.slice_cols(first, w.rows()), w.value(), {.accumulate = accumulate});
    first += w.rows();
  }
}

template <class Ctx, class T>
void weight_gradients(Ctx& ctx, Tape<T>& tape, View<T, 2> dy, View<T, 2> x, const Parts<T>& parts) {
  std::vector<GradientTarget<Acc<T>>> targets;
  std::vector<View<Acc<T>, 2>> views;
  bool alike = true;
  for (const auto& w : parts.weights) {
    targets.push_back(tape.claim(w));
    views.push_back(targets.back().view);
    alike &= targets.back().accumulate == targets[0].accumulate;
  }
  const auto options = [](Accumulate a) { return GemmOptions{.a = Transpose::kYes, .accumulate = a}; };
  if (const auto dw = stacked(views); dw && alike) {
    gemm<T>(ctx, dw, dy, x, options(targets[0].accumulate));
    return;
  }
  std::int64_t first = 0;
  for (std::size_t k = 0; k < targets.size(); ++k) {
    const std::int64_t rows = parts.weights[k].rows();
    if (targets[k]) gemm<T>(ctx, targets[k].view, dy.slice_cols(first, rows), x, options(targets[k].accumulate));
    first += rows;
  }
}

template <class T>
Variable<T> linear_parts(Tape<T>& tape, Variable<T> x, Parts<T> parts) {
  GALREC_CHECK(!parts.weights.empty());
  for (const auto& w : parts.weights) GALREC_CHECK(w.cols() == x.cols(), "x has {} columns, w {}", x.cols(), w.cols());
  GALREC_CHECK(parts.biases.empty() || parts.biases.size() == parts.weights.size());
  // The output needs a gradient if any of them does.
  VariableSlot learns = x;
  for (const auto& w : parts.weights) {
    if (w.requires_gradient()) learns = w;
  }
  for (const auto& b : parts.biases) {
    if (b.requires_gradient()) learns = b;
  }
  const auto y = tape.output(x.rows(), parts.out(), {x, learns});
  dispatch<T>(tape.device(),
           [&](auto& ctx) { forward<std::remove_reference_t<decltype(ctx)>, T>(ctx, y.value(), x.value(), parts); });
  tape.record("linear", y, [&tape, x, y, parts = std::move(parts)] {
    dispatch<T>(tape.device(), [&](auto& ctx) {
      using Ctx = std::remove_reference_t<decltype(ctx)>;
      const auto dy = tape.gradient(y);
      weight_gradients<Ctx, T>(ctx, tape, dy, x.value(), parts);
      std::int64_t first = 0;
      for (const auto& b : parts.biases) {
        if (const auto db = tape.claim(b)) {
          column_sum<T>(ctx, as_vector(db.view), dy.slice_cols(first, b.cols()), db.accumulate);
        }
        first += b.cols();
      }
      if (const auto dx = tape.claim(x)) input_gradient<Ctx, T>(ctx, dx, dy, parts);
    });
  });
  return y;
}

}  // namespace

template <class T>
Variable<T> linear(Tape<T>& tape, Variable<T> x, Weight<T> w) {
  return linear_parts<T>(tape, x, {{w}, {}});
}

template <class T>
Variable<T> linear(Tape<T>& tape, Variable<T> x, Weight<T> w, Variable<Acc<T>> bias) {
  return linear_parts<T>(tape, x, {{w}, {bias}});
}

template <class T>
Variable<T> linear_concat(Tape<T>& tape, Variable<T> x, std::initializer_list<Weight<T>> weights) {
  return linear_parts<T>(tape, x, {weights, {}});
}

template <class T>
Variable<T> linear_concat(Tape<T>& tape, Variable<T> x, std::initializer_list<Weight<T>> weights,
                          std::initializer_list<Variable<Acc<T>>> biases) {
  return linear_parts<T>(tape, x, {weights, biases});
}

#define INSTANTIATE(T)                                                                         \
  template Variable<T> linear(Tape<T>&, Variable<T>, Weight<T>);                               \
  template Variable<T> linear(Tape<T>&, Variable<T>, Weight<T>, Variable<Acc<T>>);             \
  template Variable<T> linear_concat(Tape<T>&, Variable<T>, std::initializer_list<Weight<T>>); \
  template Variable<T> linear_concat(Tape<T>&, Variable<T>, std::initializer_list<Weight<T>>,  \
                                     std::initializer_list<Variable<Acc<T>>>);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
