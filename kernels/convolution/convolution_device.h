#pragma once
// What the CUDA files of the convolution share.

#include "kernels/convolution/convolution_geometry.h"

namespace galrec::convolution_cuda {

// Each by cuDNN; false, and nothing done, where there is no such library (the executor, a build without it), or where it has no
// deterministic algorithm for these shapes, strides and types.
template <class T>
bool forward_cudnn(CudaContext& ctx, View<T, 2> y, View<const T, 2> x, View<const T, 2> w, const ConvolutionGeometry& g);
template <class T>
bool backward_input_cudnn(CudaContext& ctx, View<T, 2> dx, View<const T, 2> dy, View<const T, 2> w, const ConvolutionGeometry& g,
                          Accumulate accumulate);
/// fp32 only: beside bf16 images the library rounds dw to bf16.
bool backward_weight_cudnn(CudaContext& ctx, View<float, 2> dw, View<const float, 2> dy, View<const float, 2> x,
                           const ConvolutionGeometry& g, Accumulate accumulate);

}  // namespace galrec::convolution_cuda
