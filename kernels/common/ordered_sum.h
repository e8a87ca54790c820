#pragma once
// The last step of sums that many blocks share: their partial sums, in double, added in an order that depends on their
// number only.

#include "kernels/common/context.h"
#include "kernels/common/launch.h"
#include "kernels/common/warp.h"

namespace galrec {

inline constexpr int kOrderedSumThreads = 1024;

/// out[0] = scale * sum of the n partial sums: thread t adds t, t + 1024, ...; then the block's tree.
template <class Out>
__global__ void __launch_bounds__(kOrderedSumThreads)
    ordered_sum(Out* out, const double* partial, std::int64_t n, double scale) {
  auto& s = block_shared<BlockScratch<double>>();
  double sum = 0;
  for (std::int64_t i = thread_id(); i < n; i += kOrderedSumThreads) sum += partial[i];
  sum = block_sum(sum, s);
  if (thread_id() == 0) *out = static_cast<Out>(scale * sum);
}

template <class Out>
void launch_ordered_sum(CudaContext& ctx, Out* out, View<double, 1> partial, double scale) {
  launch(ordered_sum<Out>, 1, kOrderedSumThreads, sizeof(BlockScratch<double>), ctx.stream(), out, partial.data,
         partial.extent(0), scale);
}

}  // namespace galrec
