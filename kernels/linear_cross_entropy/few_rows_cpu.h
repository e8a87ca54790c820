#pragma once
// Few rows against many classes: a training step has as many predictions as samples, the head as many classes as the
// catalogue. Every product is then a pass over w, and what counts is how often w comes from memory: once forward, once
// backward. The logits of a block of classes live in L1 (transposed: a class is a row), are turned into a gradient
// there, and feed dx and dw while the block of w is still in L2.

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec::few_rows {

/// Beyond so many rows a library's blocked products are as good.
inline constexpr std::int64_t kMost = 64;

/// The operands of both passes; the contract is linear_cross_entropy.h's. Shapes are checked by the caller.
template <class T>
struct Inputs {
  ConstView<T, 2> x, w;                 // (N,C), (V,C); N <= kMost
  ConstView<T, 1> bias;                 // (V) or empty
  View<const std::int32_t, 1> targets;  // (N)
  double scale;
};

template <class T>
void forward(CpuContext& ctx, View<T, 1> losses, View<T, 1> lse, const Inputs<T>& in);

/// `g` is the gradient of one row's loss. dx, dw, dbias may be empty.
template <class T>
void backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dw, View<T, 1> dbias, T g, const Inputs<T>& in,
              ConstView<T, 1> lse, Accumulate dx_accumulate, Accumulate dw_accumulate);

}  // namespace galrec::few_rows
