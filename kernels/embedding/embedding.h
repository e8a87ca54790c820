#pragma once
// Embedding look-up and its gradient.
//
// Math      y_n = table[ids_n] (+ y_n)
// Shapes    y, dy (N,C) | table, dtable (V,C) | ids (N) int32 in [0, V)
// Backward  dtable[v] = sum over n with ids_n = v of dy_n (+)
// Saved and aliasing  ids
// Numerics and determinism  positions are sorted by id (stably) and each row is summed in position order: no atomics.
//           Accumulate::kOverwrite clears every row of dtable, looked up or not. An id out of range is a CheckError.
// Launch    CPU: rows in parallel forward, segments of equal ids in parallel backward
// Reference -

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

template <class T>
void embedding_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> table, View<const std::int32_t, 1> ids,
                       Accumulate accumulate);

template <class T>
void embedding_backward(CpuContext& ctx, View<T, 2> dtable, ConstView<T, 2> dy, View<const std::int32_t, 1> ids,
                        Accumulate accumulate);

}  // namespace galrec
