#pragma once
// Sparse times dense, for graph propagation, with symmetric normalisation folded in.
//
// Math      y_r = out_scale_r sum over c in row r of in_scale_c x_c  (+ y_r);  LightGCN: out_scale = in_scale = degree^-1/2
//           and, where total is given, total_r += y_r (the running layer sum)
// Shapes    graph (R,S) CSR | x (S,C) | y, total (R,C) | out_scale (R), in_scale (S), either may be empty (= 1);
//           y may be empty where total is given and nothing is added to y: only the running sum is wanted
// Backward  dx = the same operation on the transposed graph with the scales swapped
// Saved and aliasing  y must not alias x; total may alias neither
// Errors    offsets that fall or leave col_idx, and columns out of range: CheckError. CPU: a column is looked at when its edge is
//           used, so y and total are undefined after it
// Numerics and determinism  each row is summed in index order by one thread
//           CUDA: in fp32, in index order too; a row of more than 256 neighbours in pieces of 256 from its first, then the pieces in order.
//           Scales and total are fp32 beside bf16 rows; total takes y before it is rounded. Offsets that fall or leave col_idx, and columns
//           out of range, are reported (CheckError at the next synchronize()) and left out.
//           Rows of x that are zero may be left out: adding them changes nothing.
// Launch    CPU: blocks of rows in parallel; C unrolled in vectors; where a sample says that most rows of x are zero (the gradient
//           of a batch), edges to them are skipped. spmm_rows: listed rows in parallel
//           CUDA: a warp, or the part of one that covers C in 16-byte accesses, a row; pieces of long rows by a second launch over windows
//           of 256 edges, joined by a third. Reads of x are a gather of whole rows: nnz rows if nothing is cached. y, total are written once.
//           Scratch: 8 C / 256 bytes an edge. spmm_rows: a group of lanes a listed row, long rows' pieces one after another (the same bits).
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
          View<T, 2> y,                 // (R,C) or empty
          View<T, 2> total,             // (R,C) or empty
          const CsrView& graph,
          ConstView<T, 2> x,            // (S,C)
          ConstView<T, 1> out_scale,    // (R) or empty
          ConstView<T, 1> in_scale,     // (S) or empty
          Accumulate accumulate);
/// T float or bfloat16; everything in device memory.
template <class T>
void spmm(CudaContext& ctx, View<T, 2> y, View<Acc<T>, 2> total, const CsrView& graph, ConstView<T, 2> x, ConstView<Acc<T>, 1> out_scale,
          ConstView<Acc<T>, 1> in_scale, Accumulate accumulate);

/// Chosen rows of the product: y_n = row rows[n] of it, with the bits that spmm gives that row. Rows may repeat.
template <class T>
void spmm_rows(CpuContext& ctx,
               View<T, 2> y,                         // (N,C)
               const CsrView& graph,                 // R rows
               View<const std::int32_t, 1> rows,     // (N), in [0, R)
               ConstView<T, 2> x,                    // (S,C)
               ConstView<T, 1> out_scale,            // (R) or empty
               ConstView<T, 1> in_scale);            // (S) or empty
/// T float or bfloat16; everything in device memory. A row out of range is reported and its y becomes zero.
template <class T>
void spmm_rows(CudaContext& ctx, View<T, 2> y, const CsrView& graph, View<const std::int32_t, 1> rows, ConstView<T, 2> x,
               ConstView<Acc<T>, 1> out_scale, ConstView<Acc<T>, 1> in_scale);

}  // namespace galrec
