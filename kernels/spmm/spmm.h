#pragma once
// Sparse times dense, for graph propagation, with symmetric normalisation folded in.
//
// Math      y_r = out_scale_r sum over c in row r of in_scale_c x_c  (+ y_r);  LightGCN: out_scale = in_scale = degree^-1/2
//           and, where total is given, total_r += y_r (the running layer sum)
// Shapes    graph (R,S) CSR | x (S,C) | y, total (R,C) | out_scale (R), in_scale (S), either may be empty (= 1)
// Backward  dx = the same operation on the transposed graph with the scales swapped
// Saved and aliasing  y must not alias x; total may alias neither
// Numerics and determinism  each row is summed in index order by one thread
// Launch    CPU: blocks of rows in parallel; C unrolled in vectors
// Reference He et al. 2020 (LightGCN) eq. 7

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

struct CsrView {
  View<const std::int32_t, 1> row_ptr;  // (R+1)
  View<const std::int32_t, 1> col_idx;  // (nnz)
};

template <class T>
void spmm(CpuContext& ctx,
          View<T, 2> y,                 // (R,C)
          View<T, 2> total,             // (R,C) or empty
          const CsrView& graph,
          ConstView<T, 2> x,            // (S,C)
          ConstView<T, 1> out_scale,    // (R) or empty
          ConstView<T, 1> in_scale,     // (S) or empty
          Accumulate accumulate);

}  // namespace galrec
