#pragma once
// Pooling of packed token rows, and L2 normalisation of rows.
//
// Math      segment_mean: y_s = mean of x_n, n in [cu_s, cu_{s+1}), 0 for an empty segment
//           l2_normalize: y_n = x_n / max(|x_n|, eps), eps 1e-12
// Shapes    x, dx (N,C) | y, dy (S,C) | cu (S+1) int32, not decreasing, cu_0 = 0, cu_S = N (else CheckError; CUDA: by
//           check_status(), and a segment that cannot be true counts as empty); l2_normalize: all (N,C), norm (N) = max(|x_n|, eps)
// Backward  dx_n = dy_s / count_s (+);  dx = (dy - y (y.dy)) / norm (+)  (where |x| < eps: dy / norm)
// Saved and aliasing  cu; y, norm. No aliasing.
// Numerics and determinism  rows of a segment are summed in order, in fp32 on CUDA and rounded to T once; norm is Acc<T>
// Launch    CPU: segments or rows in parallel. CUDA: segment_mean: a thread per 16 bytes of a segment's row walks its rows; x or dx
//           moved once, and y or dy, and 8 bytes of cu per thread. l2_normalize: a warp per row, 4 warps a block; C <= 1024 held in
//           registers: 2 elements moved per element forward, 3 backward (4 where it adds); longer or unaligned rows are read twice
// Reference Sentence-T5 (Ni et al. 2022) mean pooling; torch.nn.functional.normalize

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

template <class T>
void segment_mean_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, View<const std::int32_t, 1> cu);
template <class T>
void segment_mean_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, View<const std::int32_t, 1> cu);

template <class T>
void segment_mean_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, View<const std::int32_t, 1> cu,
                           Accumulate accumulate);
template <class T>
void segment_mean_backward(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, View<const std::int32_t, 1> cu,
                           Accumulate accumulate);

template <class T>
void l2_normalize_forward(CpuContext& ctx, View<T, 2> y, View<T, 1> norm, ConstView<T, 2> x);
template <class T>
void l2_normalize_forward(CudaContext& ctx, View<T, 2> y, View<Acc<T>, 1> norm, ConstView<T, 2> x);

template <class T>
void l2_normalize_backward(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> y, ConstView<T, 1> norm,
                           Accumulate accumulate);
template <class T>
void l2_normalize_backward(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> y, ConstView<Acc<T>, 1> norm,
                           Accumulate accumulate);

}  // namespace galrec
