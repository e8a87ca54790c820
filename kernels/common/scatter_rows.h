#pragma once
// Rows of one matrix to places in another that only the device knows: how a step that is replayed writes into a ring.

#include <cstdint>

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// y[rows_n] = x_n; x (N,C), y (R,C), rows (N) in [0, R) or negative, which leaves x_n out; no row twice. T float,
/// double, bfloat16 or int32. CUDA: a row beyond R is left out as well.
template <class T>
void scatter_rows(CpuContext& ctx, View<T, 2> y, View<const T, 2> x, View<const std::int32_t, 1> rows);
template <class T>
void scatter_rows(CudaContext& ctx, View<T, 2> y, View<const T, 2> x, View<const std::int32_t, 1> rows);

}  // namespace galrec
