#pragma once
// Graph propagation for LightGCN (kernels/spmm). Graphs and scales must live as long as the step.

#include "autograd/tape.h"
#include "kernels/spmm/spmm.h"

namespace galrec::autograd {

/// One layer: y_r = out_scale_r sum over row r of in_scale_c x_c; (S,C) -> (R,C). `transposed` (S rows) is the graph's
/// transpose, used backwards. Scales may be empty (= 1).
template <class T>
Variable<T> propagate(Tape<T>& tape, const CsrView& graph, const CsrView& transposed, ConstView<T, 1> out_scale,
                      ConstView<T, 1> in_scale, Variable<T> x);

/// Rows `nodes` (N) of LightGCN's output, which is the mean of layers 0..K of a symmetric graph (users and items in one),
/// each with degree^-1/2 on both sides; (S,C) -> (N,C). He et al. 2020, eq. 8. A training step looks at few nodes: the last
/// layer is computed for those alone. The operator is symmetric, so that backward is the same operation on the gradient.
template <class T>
Variable<T> propagate_mean(Tape<T>& tape, const CsrView& symmetric_graph, ConstView<T, 1> degree_scale, Variable<T> x,
                           int layers, View<const std::int32_t, 1> nodes);

}  // namespace galrec::autograd
