#pragma once
// The small kernels around attention's backward: statistics of rows before it, the sum of dtable's shares after it.

#include "kernels/attention/attention_device.h"
#include "kernels/common/context.h"

namespace galrec::attention_cuda {

/// stats[h * tq + i] = {lse in units of log 2, rowsum(do o)} of query i and head h.
template <class T>
void row_stats(CudaContext& ctx, RowStats* stats, const Common& common, std::int64_t tq, Rows<const T> dout,
               Rows<const T> o, Rows<const float> lse);

/// dtable (buckets,H) = sum over slots, in order, of partial (slots,H,buckets) (+).
void reduce_table(CudaContext& ctx, View<float, 2> dtable, const float* partial, std::int64_t slots,
                  Accumulate accumulate);

}  // namespace galrec::attention_cuda
