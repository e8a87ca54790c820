#include "autograd/ops/sums.h"

#include <vector>

#include "autograd/ops/support.h"

namespace galrec::autograd {

template <class T>
Variable<Acc<T>> weighted_sum(Tape<T>& tape, std::span<const std::pair<Variable<Acc<T>>, double>> terms) {
  GALREC_CHECK(!terms.empty());
  Variable<Acc<T>> learns = terms[0].first;
  for (const auto& [loss, weight] : terms) {
    GALREC_CHECK(loss.rows() == 1 && loss.cols() == 1, "a term is ({}, {})", loss.rows(), loss.cols());
    if (loss.requires_gradient()) learns = loss;
  }
  const auto y = tape.template output<Acc<T>>(1, 1, {learns});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    auto accumulate = Accumulate::kOverwrite;
    for (const auto& [loss, weight] : terms) {
      add_scaled<Acc<T>>(ctx, y.value(), loss.value(), weight, accumulate);
      accumulate = Accumulate::kAdd;
    }
  });
  using Terms = std::vector<std::pair<Variable<Acc<T>>, double>>;
  tape.record("weighted_sum", y, [&tape, y, terms = Terms(terms.begin(), terms.end())] {
    for (const auto& [loss, weight] : terms) {
      const auto d = tape.claim(loss);
      if (!d) continue;
      const double alpha = weight;
      dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<Acc<T>>(ctx, d.view, tape.gradient(y), alpha, d.accumulate); });
    }
  });
  return y;
}

template <class T>
Variable<T> scale(Tape<T>& tape, Variable<T> x, double alpha) {
  const auto y = tape.output(x.rows(), x.cols(), {x});
  dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, y.value(), x.value(), alpha, Accumulate::kOverwrite); });
  tape.record("scale", y, [&tape, x, y, alpha] {
    const auto dy = tape.gradient(y);
    const auto dx = tape.hand_over(y, x) ? GradientTarget<T>{dy, Accumulate::kOverwrite} : tape.claim(x);
    dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, dx.view, dy, alpha, dx.accumulate); });
  });
  return y;
}

template <class T>
Variable<T> add(Tape<T>& tape, Variable<T> a, Variable<T> b) {
  GALREC_CHECK(a.value().shape == b.value().shape, "({}, {}) + ({}, {})", a.rows(), a.cols(), b.rows(), b.cols());
  const auto y = tape.output(a.rows(), a.cols(), {a, b});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    add_scaled<T>(ctx, y.value(), a.value(), 1, Accumulate::kOverwrite);
    add_scaled<T>(ctx, y.value(), b.value(), 1, Accumulate::kAdd);
  });
  tape.record("add", y, [&tape, a, b, y] {
    const auto dy = tape.gradient(y);
    if (const auto db = tape.claim(b)) {
      dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, db.view, dy, 1, db.accumulate); });
    }
    if (tape.hand_over(y, a)) return;
    if (const auto da = tape.claim(a)) {
      dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, da.view, dy, 1, da.accumulate); });
    }
  });
  return y;
}

template <class To, class T, class V>
Variable<To> cast(Tape<T>& tape, Variable<V> x) {
  if constexpr (std::is_same_v<To, V>) {
    return x;
  } else {
    const auto y = tape.template output<To>(x.rows(), x.cols(), {x});
    dispatch<T>(tape.device(), [&](auto& ctx) { convert<To, V>(ctx, y.value(), x.value(), Accumulate::kOverwrite); });
    tape.record("cast", y, [&tape, x, y] {
      const auto dx = tape.claim(x);
      dispatch<T>(tape.device(), [&](auto& ctx) { convert<V, To>(ctx, dx.view, tape.gradient(y), dx.accumulate); });
    });
    return y;
  }
}

template <class T>
double scalar(const Tape<T>& tape, const Variable<Acc<T>>& x) {
  GALREC_CHECK(x.rows() == 1 && x.cols() == 1, "({}, {}) is no scalar", x.rows(), x.cols());
  return static_cast<double>((*on_host(tape.device(), x.value()))(0, 0));
}

#define INSTANTIATE(T)                                                                                    \
  template Variable<Acc<T>> weighted_sum(Tape<T>&, std::span<const std::pair<Variable<Acc<T>>, double>>); \
  template Variable<T> scale(Tape<T>&, Variable<T>, double);                                              \
  template Variable<T> add(Tape<T>&, Variable<T>, Variable<T>);                                           \
  template Variable<T> cast(Tape<T>&, Variable<T>);                                                       \
  template double scalar(const Tape<T>&, const Variable<Acc<T>>&);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE
template Variable<float> cast(Tape<bfloat16>&, Variable<bfloat16>);
template Variable<bfloat16> cast(Tape<bfloat16>&, Variable<float>);
template Variable<float> cast(Tape<bfloat16>&, Variable<float>);

}  // namespace galrec::autograd
