#include "autograd/ops/rows.h"

#include "autograd/ops/support.h"

namespace galrec::autograd {

template <class T, class V>
Variable<V> concat_rows(Tape<T>& tape, std::span<const Variable<V>> parts) {
  GALREC_CHECK(!parts.empty());
  std::int64_t rows = 0;
  Variable<V> learns = parts[0];
  for (const auto& p : parts) {
    GALREC_CHECK(p.cols() == parts[0].cols(), "{} columns below {}", p.cols(), parts[0].cols());
    rows += p.rows();
    if (p.requires_gradient()) learns = p;
  }
  const auto y = tape.template output<V>(rows, parts[0].cols(), {learns});
  const auto each = [&tape](std::span<const Variable<V>> list, auto&& f) {
    std::int64_t first = 0;
    for (const auto& p : list) {
      if (p.rows() > 0) dispatch<T>(tape.device(), [&](auto& ctx) { f(ctx, p, first); });
      first += p.rows();
    }
  };
  each(parts, [&](auto& ctx, const Variable<V>& p, std::int64_t first) {
    add_scaled<V>(ctx, y.value().slice_rows(first, p.rows()), p.value(), 1, Accumulate::kOverwrite);
  });
  tape.record("concat_rows", y, [&tape, y, each, parts = std::vector<Variable<V>>(parts.begin(), parts.end())] {
    each(parts, [&](auto& ctx, const Variable<V>& p, std::int64_t first) {
      if (const auto d = tape.claim(p)) {
        add_scaled<V>(ctx, d.view, tape.gradient(y).slice_rows(first, p.rows()), 1, d.accumulate);
      }
    });
  });
  return y;
}

template <class T>
Variable<T> slice_rows(Tape<T>& tape, Variable<T> x, std::int64_t first, std::int64_t count) {
  const auto y = tape.output(count, x.cols(), {x});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    add_scaled<T>(ctx, y.value(), x.value().slice_rows(first, count), 1, Accumulate::kOverwrite);
  });
  tape.record("slice_rows", y, [&tape, x, y, first, count] {
    const auto dx = tape.claim(x);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      if (dx.accumulate == Accumulate::kOverwrite) {
        fill<T>(ctx, dx.view.slice_rows(0, first), 0);
        fill<T>(ctx, dx.view.slice_rows(first + count, dx.view.rows() - first - count), 0);
      }
      add_scaled<T>(ctx, dx.view.slice_rows(first, count), tape.gradient(y), 1, dx.accumulate);
    });
  });
  return y;
}

#define INSTANTIATE(T)                                                      \
  template Variable<T> concat_rows(Tape<T>&, std::span<const Variable<T>>); \
  template Variable<T> slice_rows(Tape<T>&, Variable<T>, std::int64_t, std::int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE
template Variable<float> concat_rows(Tape<bfloat16>&, std::span<const Variable<float>>);
template Variable<bfloat16> concat_rows(Tape<bfloat16>&, std::span<const Variable<bfloat16>>);

}  // namespace galrec::autograd
