#include "autograd/ops/pooling.h"

#include "autograd/ops/support.h"
#include "kernels/pooling/pooling.h"

namespace galrec::autograd {

template <class T>
Variable<T> segment_mean(Tape<T>& tape, Variable<T> x, View<const std::int32_t, 1> cu) {
  const auto y = tape.output(cu.extent(0) - 1, x.cols(), {x});
  dispatch<T>(tape.device(), [&](auto& ctx) { segment_mean_forward<T>(ctx, y.value(), x.value(), cu); });
  tape.record("segment_mean", y, [&tape, x, y, cu] {
    const auto dx = tape.claim(x);
    dispatch<T>(tape.device(),
             [&](auto& ctx) { segment_mean_backward<T>(ctx, dx.view, tape.gradient(y), cu, dx.accumulate); });
  });
  return y;
}

template <class T>
Variable<T> l2_normalize(Tape<T>& tape, Variable<T> x) {
  const auto y = tape.output(x.rows(), x.cols(), {x});
  const auto norm = tape.arena().template vector<Acc<T>>(x.rows());
  dispatch<T>(tape.device(), [&](auto& ctx) { l2_normalize_forward<T>(ctx, y.value(), norm, x.value()); });
  tape.record("l2_normalize", y, [&tape, x, y, norm] {
    const auto dx = tape.claim(x);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      l2_normalize_backward<T>(ctx, dx.view, tape.gradient(y), y.value(), norm, dx.accumulate);
    });
  });
  return y;
}

#define INSTANTIATE(T)                                                                   \
  template Variable<T> segment_mean(Tape<T>&, Variable<T>, View<const std::int32_t, 1>); \
  template Variable<T> l2_normalize(Tape<T>&, Variable<T>);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
