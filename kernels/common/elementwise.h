#pragma once
// Filling, copying, scaling, adding and converting matrices: what ties operations together. y may be x itself. CUDA moves each
// element once, 16 bytes at a time where rows are aligned; dense matrices are one long row.

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// y = value.
template <class T>
void fill(CpuContext& ctx, View<T, 2> y, double value);
template <class T>
void fill(CudaContext& ctx, View<T, 2> y, double value);

/// y = alpha x (+ y); x and y (N,C). With alpha 1 a copy, also between rows of different strides.
template <class T>
void add_scaled(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, double alpha, Accumulate accumulate);
template <class T>
void add_scaled(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, double alpha, Accumulate accumulate);

/// The same with a factor that lies in the context's memory, (1), such as the gradient of a loss: no synchronisation.
template <class T>
void add_scaled(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<Acc<T>, 1> alpha, Accumulate accumulate);
template <class T>
void add_scaled(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<Acc<T>, 1> alpha, Accumulate accumulate);

/// y = x (+ y) between element types, rounded once to that of y: float and bfloat16 either way, or equal types.
template <class To, class From>
void convert(CpuContext& ctx, View<To, 2> y, ConstView<From, 2> x, Accumulate accumulate);
template <class To, class From>
void convert(CudaContext& ctx, View<To, 2> y, ConstView<From, 2> x, Accumulate accumulate);

/// The first element of a non-empty matrix, on the host. CUDA: waits for the stream and throws what kernels reported
/// (CudaContext::check_status).
template <class T>
double read_scalar(CpuContext& ctx, View<T, 2> x);
template <class T>
double read_scalar(CudaContext& ctx, View<T, 2> x);

}  // namespace galrec
