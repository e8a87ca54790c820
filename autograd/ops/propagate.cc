#include "autograd/ops/propagate.h"

#include "autograd/ops/support.h"

namespace galrec::autograd {

namespace {

/// total = mean of layers 0..K of x. The intermediate layers live in scratch: no product needs them again.
template <class T>
void mean_of_layers(Tape<T>& tape, View<T, 2> total, const CsrView& graph, ConstView<T, 1> degree_scale, View<T, 2> x,
                    int layers) {
  ScratchScope scratch(tape.arena());
  View<T, 2> current = x;
  View<T, 2> next = scratch->template matrix<T>(x.rows(), x.cols());
  View<T, 2> spare = scratch->template matrix<T>(x.rows(), x.cols());
  dispatch<T>(tape.device(), [&](auto& ctx) {
    add_scaled<T>(ctx, total, x, 1, Accumulate::kOverwrite);
    for (int k = 0; k < layers; ++k) {
      spmm<T>(ctx, next, total, graph, current, degree_scale, degree_scale, Accumulate::kOverwrite);
      current = next;
      std::swap(next, spare);
    }
    add_scaled<T>(ctx, total, total, 1.0 / (layers + 1), Accumulate::kOverwrite);
  });
}

}  // namespace

template <class T>
Variable<T> propagate(Tape<T>& tape, const CsrView& graph, const CsrView& transposed, ConstView<T, 1> out_scale,
                      ConstView<T, 1> in_scale, Variable<T> x) {
  const auto y = tape.output(graph.row_ptr.extent(0) - 1, x.cols(), {x});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    spmm<T>(ctx, y.value(), {}, graph, x.value(), out_scale, in_scale, Accumulate::kOverwrite);
  });
  tape.record("propagate", y, [&tape, x, y, transposed, out_scale, in_scale] {
    const auto dx = tape.claim(x);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      spmm<T>(ctx, dx.view, {}, transposed, tape.gradient(y), in_scale, out_scale, dx.accumulate);
    });
  });
  return y;
}

template <class T>
Variable<T> propagate_mean(Tape<T>& tape, const CsrView& symmetric_graph, ConstView<T, 1> degree_scale, Variable<T> x,
                           int layers) {
  GALREC_CHECK(layers >= 0 && symmetric_graph.row_ptr.extent(0) == x.rows() + 1);
  const auto y = tape.output(x.rows(), x.cols(), {x});
  mean_of_layers<T>(tape, y.value(), symmetric_graph, degree_scale, x.value(), layers);
  tape.record("propagate_mean", y, [&tape, x, y, symmetric_graph, degree_scale, layers] {
    const auto dx = tape.claim(x);
    if (dx.accumulate == Accumulate::kOverwrite) {
      mean_of_layers<T>(tape, dx.view, symmetric_graph, degree_scale, tape.gradient(y), layers);
      return;
    }
    ScratchScope scratch(tape.arena());
    const auto d = scratch->template matrix<T>(x.rows(), x.cols());
    mean_of_layers<T>(tape, d, symmetric_graph, degree_scale, tape.gradient(y), layers);
    dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, dx.view, d, 1, Accumulate::kAdd); });
  });
  return y;
}

#define INSTANTIATE(T)                                                                                       \
  template Variable<T> propagate(Tape<T>&, const CsrView&, const CsrView&, ConstView<T, 1>, ConstView<T, 1>, \
                                 Variable<T>);                                                               \
  template Variable<T> propagate_mean(Tape<T>&, const CsrView&, ConstView<T, 1>, Variable<T>, int);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace galrec::autograd
