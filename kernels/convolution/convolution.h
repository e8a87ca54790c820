#pragma once
// Convolution of images in rows: the filters that slide over an embedded history (Caser and its kin), in one or two dimensions.
//
// Math      y_{n,p,q,k} = bias_k + sum over r,s,c of w_{k,r,s,c} x_{n, p sh - ph + r dh, q sw - pw + s dw, c}; x is 0 outside the
//           image (a cross-correlation, as all frameworks have it; strides sh, sw, padding ph, pw, dilation dh, dw: the options)
// Shapes    x, dx (N H W, C): a row is a pixel, images one after another, channels within | y, dy (N P Q, K) |
//           w, dw (K, R S C) | bias (K); (H,W) = options.image, (R,S) = options.kernel, (P,Q) = convolution_output(options)
//           A history of L items of width d under filters of h items: H = L, W = 1, C = d, kernel (h,1): y (N (L-h+1), K).
//           One weight per time step, Caser's vertical filters: H = L, W = d, C = 1, kernel (L,1): y (N d, K).
// Backward  dx: every output that saw the pixel, times its weight (+) | dw = sum over outputs of dy x patch (+) |
//           dbias = column_sum() of dy (+)
// Saved and aliasing  nothing saved; outputs must not overlap inputs
// Numerics and determinism  CPU: patches of x beside each other times w (gemm_serial), in blocks whose size is a function of the
//           shape; dw in at most 64 slabs of outputs added in order: the bits do not depend on the number of threads.
//           CUDA: cuDNN with an algorithm that it declares deterministic, one per shape, asked for once; fp32 without TF32 unless
//           GemmPrecision::kTf32. Builds and executors without it, and what cuDNN does not do as this contract wants (shapes for
//           which it has no deterministic algorithm; dw beside bf16, which it would round; GemmPrecision::kBf16): patches and
//           gemm() in slabs of images in order, dx a gather in fp32 in the order of the taps. No atomics. y is rounded before the
//           bias is added, and after.
// Launch    CPU: blocks of outputs, or of images for dx, in parallel.
//           CUDA without cuDNN: a thread per 16 bytes of patches; then gemm. Patches are R S times the image, less what stride
//           skips, written and read once, at most 8 MB of them at a time, so that they stay in the L2 cache. None where the filter
//           covers the image, or is one pixel: x is its own patches. Scratch: one slab, or cuDNN's workspace (at most 64 MB)
// Reference Tang & Wang 2018 (Caser) eq. 2 to 8; torch.nn.functional.conv2d

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// Of an image, a filter or a step: along its height (time) and its width.
struct Extent2 {
  std::int64_t h = 1, w = 1;
};

struct ConvolutionOptions {
  Extent2 image, kernel;
  Extent2 stride = {1, 1};
  Extent2 padding = {0, 0};  // zeros on both sides
  Extent2 dilation = {1, 1};
};

/// Extents of an output image; CheckError where the filter does not fit the padded image or an option makes no sense.
Extent2 convolution_output(const ConvolutionOptions& options);

template <class T>
void convolution_forward(CpuContext& ctx, View<T, 2> y,  // (N P Q, K)
                         ConstView<T, 2> x,              // (N H W, C)
                         ConstView<T, 2> w,              // (K, R S C)
                         ConstView<T, 1> bias,           // (K) or empty
                         const ConvolutionOptions& options);
template <class T>
void convolution_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<T, 2> w, ConstView<Acc<T>, 1> bias,
                         const ConvolutionOptions& options);

template <class T>
void convolution_backward_input(CpuContext& ctx, View<T, 2> dx,  // (N H W, C)
                                ConstView<T, 2> dy,              // (N P Q, K)
                                ConstView<T, 2> w,               // (K, R S C)
                                const ConvolutionOptions& options, Accumulate accumulate);
template <class T>
void convolution_backward_input(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> w,
                                const ConvolutionOptions& options, Accumulate accumulate);

/// dbias is column_sum() of dy (kernels/gemm).
template <class T>
void convolution_backward_weight(CpuContext& ctx, View<T, 2> dw,  // (K, R S C)
                                 ConstView<T, 2> dy,              // (N P Q, K)
                                 ConstView<T, 2> x,               // (N H W, C)
                                 const ConvolutionOptions& options, Accumulate accumulate);
template <class T>
void convolution_backward_weight(CudaContext& ctx, View<Acc<T>, 2> dw, ConstView<T, 2> dy, ConstView<T, 2> x,
                                 const ConvolutionOptions& options, Accumulate accumulate);

}  // namespace galrec
