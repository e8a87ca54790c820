#include "autograd/ops/propagate.h"

#include "autograd/ops/support.h"
#include "kernels/embedding/embedding.h"

namespace galrec::autograd {

namespace {

/// y = rows `nodes` of the mean of layers 0..K of x. The intermediate layers live in scratch: no product needs them again.
template <class T>
void mean_at(Tape<T>& tape, View<T, 2> y, const CsrView& graph, ConstView<T, 1> degree_scale, View<T, 2> x, int layers,
             View<const std::int32_t, 1> nodes) {
  ScratchScope scratch(tape.arena());
  View<T, 2> current = x;
  View<T, 2> next = scratch->template matrix<T>(x.rows(), x.cols()), spare = scratch->template matrix<T>(x.rows(), x.cols());
  const View<T, 2> last = scratch->template matrix<T>(y.rows(), y.cols());
  dispatch<T>(tape.device(), [&](auto& ctx) {
    embedding_forward<T>(ctx, y, x, nodes, Accumulate::kOverwrite);
    for (int k = 1; k < layers; ++k) {
      spmm<T>(ctx, next, {}, graph, current, degree_scale, degree_scale, Accumulate::kOverwrite);
      embedding_forward<T>(ctx, y, next, nodes, Accumulate::kAdd);
      current = next;
      std::swap(next, spare);
    }
    if (layers > 0) {
      spmm_rows<T>(ctx, last, graph, nodes, current, degree_scale, degree_scale);
      add_scaled<T>(ctx, y, last, 1, Accumulate::kAdd);
    }
    add_scaled<T>(ctx, y, y, 1.0 / (layers + 1), Accumulate::kOverwrite);
  });
}

/// dx (+)= the mean of layers 0..K of the matrix G whose rows `nodes` sum up dy, by Horner's rule: G + A (G + A (G + ... A G)).
/// G is zero but in the batch's rows, so each layer costs one product and a scatter, and no running sum of whole matrices.
template <class T>
void mean_backward(Tape<T>& tape, const GradientTarget<T>& dx, const CsrView& graph, ConstView<T, 1> degree_scale,
                   View<T, 2> dy, int layers, View<const std::int32_t, 1> nodes) {
  ScratchScope scratch(tape.arena());
  const auto matrix = [&] { return scratch->template matrix<T>(dx.view.rows(), dx.view.cols()); };
  dispatch<T>(tape.device(), [&](auto& ctx) {
    add_scaled<T>(ctx, dy, dy, 1.0 / (layers + 1), Accumulate::kOverwrite);  // few rows: cheaper than to scale the mean
    const auto add_rows = [&](View<T, 2> to, Accumulate accumulate) { embedding_backward<T>(ctx, to, dy, nodes, accumulate); };
    if (layers == 0) return add_rows(dx.view, dx.accumulate);
    View<T, 2> current = matrix(), next = layers > 1 ? matrix() : View<T, 2>();
    add_rows(current, Accumulate::kOverwrite);
    for (int k = 1; k < layers; ++k) {
      spmm<T>(ctx, next, {}, graph, current, degree_scale, degree_scale, Accumulate::kOverwrite);
      add_rows(next, Accumulate::kAdd);
      std::swap(current, next);
    }
    spmm<T>(ctx, dx.view, {}, graph, current, degree_scale, degree_scale, dx.accumulate);
    add_rows(dx.view, Accumulate::kAdd);
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
                           int layers, View<const std::int32_t, 1> nodes) {
  GALREC_CHECK(layers >= 0 && symmetric_graph.row_ptr.extent(0) == x.rows() + 1);
  const auto y = tape.output(nodes.extent(0), x.cols(), {x});
  mean_at<T>(tape, y.value(), symmetric_graph, degree_scale, x.value(), layers, nodes);
  tape.record("propagate_mean", y, [&tape, x, y, symmetric_graph, degree_scale, layers, nodes] {
    mean_backward<T>(tape, tape.claim(x), symmetric_graph, degree_scale, tape.gradient(y), layers, nodes);
  });
  return y;
}

#define INSTANTIATE(T)                                                                                       \
  template Variable<T> propagate(Tape<T>&, const CsrView&, const CsrView&, ConstView<T, 1>, ConstView<T, 1>, \
                                 Variable<T>);                                                               \
  template Variable<T> propagate_mean(Tape<T>&, const CsrView&, ConstView<T, 1>, Variable<T>, int,       \
                                      View<const std::int32_t, 1>);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace galrec::autograd
