#pragma once
// Embedding look-up and its gradient.
//
// Math      y_n = table[ids_n] (+ y_n)
// Shapes    y, dy (N,C) | table, dtable (V,C) | ids (N) int32 in [0, V)
// Backward  dtable[v] = sum over n with ids_n = v of dy_n (+)
// Saved and aliasing  ids
// Numerics and determinism  positions are sorted by id (stably) and each row is summed in position order: no atomics.
//           Accumulate::kOverwrite clears every row of dtable, looked up or not. An id out of range is a CheckError.
//           CUDA: sums in fp32; the rows of an id that comes more than 64 times are summed in pieces of 64, then the
//           pieces in order; up to 64 the bits are the CPU's. A bad id is reported (CheckError at the next
//           synchronize()): its row of y stays as it was, its row of dy is left out.
// Launch    CPU: rows in parallel forward, segments of equal ids in parallel backward
//           CUDA: forward a warp a row, 16-byte accesses where rows are aligned. Backward: a radix sort of (id,
//           position) with 9 bits a pass (three launches each), a warp for each piece, a block for each long segment;
//           every row of dtable is written once (kAdd: the rows looked up only), every row of dy is read once. Scratch:
//           16 N + N C / 8 bytes.
// Reference -

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

template <class T>
void embedding_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> table, View<const std::int32_t, 1> ids,
                       Accumulate accumulate);
/// T float or bfloat16; the table is the fp32 master (by default) or its bf16 shadow (Table = bfloat16).
template <class T, class Table = Acc<T>>
void embedding_forward(CudaContext& ctx, View<T, 2> y, ConstView<Table, 2> table, View<const std::int32_t, 1> ids,
                       Accumulate accumulate);

template <class T>
void embedding_backward(CpuContext& ctx, View<T, 2> dtable, ConstView<T, 2> dy, View<const std::int32_t, 1> ids,
                        Accumulate accumulate);
template <class T>
void embedding_backward(CudaContext& ctx, View<Acc<T>, 2> dtable, ConstView<T, 2> dy, View<const std::int32_t, 1> ids,
                        Accumulate accumulate);

}  // namespace galrec
