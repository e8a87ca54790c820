#pragma once
// Filling, copying, scaling and adding matrices: what ties operations together. y may be x itself.

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// y = value.
template <class T>
void fill(CpuContext& ctx, View<T, 2> y, double value);

/// y = alpha x (+ y); x and y (N,C).
template <class T>
void add_scaled(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, double alpha, Accumulate accumulate);

/// The first element of a non-empty matrix, on the host.
template <class T>
double read_scalar(CpuContext& ctx, View<T, 2> x);

}  // namespace galrec
