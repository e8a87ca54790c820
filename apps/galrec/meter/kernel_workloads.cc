#include "apps/galrec/meter/kernel_workloads.h"

#include "apps/galrec/meter/workload_list.h"

namespace galrec::apps {

std::vector<KernelWorkload> kernel_workloads(CudaContext& ctx) {
  WorkloadList list;
  add_products(ctx, list);
  add_attention(ctx, list);
  add_losses(ctx, list);
  add_rows(ctx, list);
  add_rest(ctx, list);
  add_convolution(ctx, list);
  return std::move(list.workloads);
}

}  // namespace galrec::apps
