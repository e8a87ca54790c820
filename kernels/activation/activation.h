#pragma once
// Pointwise activations with fused dropout, the gate of T5 v1.1's feed-forward, and plain dropout.
//
// Math      activation: y = dropout(f(x));  gated: y = dropout(f(a) b);  dropout: y = dropout(x)
//           f: ReLU max(x,0) | tanh-GELU x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))) | erf-GELU x/2 (1 + erf(x/sqrt 2)) | identity
// Shapes    all (N,C) with any row stride (a and b may be the two halves of one (N,2C) product)
// Backward  dx = dropout'(dy) f'(x) (+);  da = dropout'(dy) b f'(a) (+), db = dropout'(dy) f(a) (+)
// Saved and aliasing  the inputs are saved; y may alias x, dx may alias dy, da/db must not alias dy
// Numerics and determinism  fp32; float functions are polynomials (kernels/common/vec_math.h); masks regenerated, element
//           n * dropout_row_stride(C) + c. dropout_forward with the same key is its own backward. CUDA: fp32 arithmetic with the
//           toolkit's expf and erfcf (2 and 4 ulp), one rounding to T; every element by one thread
// Launch    CPU: rows in parallel. CUDA: a thread per 16 bytes of each operand, blocks of up to 256 threads along a row or over
//           several short ones; by element where rows are not aligned to 16 bytes or C is no multiple of a vector. Elements moved
//           per output element: forward 2, gated 3; backward 3, gated 5 (one more per output where it adds)
// Reference Hendrycks & Gimpel 2016; Shazeer 2020 (GLU variants)

#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "kernels/common/view.h"

namespace galrec {

enum class ActivationKind { kIdentity, kRelu, kGeluTanh, kGeluErf };

template <class T>
void activation_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, ActivationKind kind, const Dropout& dropout);
template <class T>
void activation_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, ActivationKind kind, const Dropout& dropout);

template <class T>
void activation_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> x, ActivationKind kind,
                         const Dropout& dropout, Accumulate accumulate);
template <class T>
void activation_backward(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> x, ActivationKind kind,
                         const Dropout& dropout, Accumulate accumulate);

template <class T>
void gated_activation_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> a, ConstView<T, 2> b, ActivationKind kind,
                              const Dropout& dropout);
template <class T>
void gated_activation_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> a, ConstView<T, 2> b, ActivationKind kind,
                              const Dropout& dropout);

template <class T>
void gated_activation_backward(CpuContext& ctx, View<T, 2> da, View<T, 2> db, ConstView<T, 2> dy, ConstView<T, 2> a,
                               ConstView<T, 2> b, ActivationKind kind, const Dropout& dropout, Accumulate accumulate);
template <class T>
void gated_activation_backward(CudaContext& ctx, View<T, 2> da, View<T, 2> db, ConstView<T, 2> dy, ConstView<T, 2> a,
                               ConstView<T, 2> b, ActivationKind kind, const Dropout& dropout, Accumulate accumulate);

/// y = dropout(x) (+ y). Its own backward.
template <class T>
void dropout_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, const Dropout& dropout, Accumulate accumulate);
template <class T>
void dropout_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, const Dropout& dropout, Accumulate accumulate);

}  // namespace galrec
