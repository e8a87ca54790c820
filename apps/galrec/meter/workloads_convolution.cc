// Workloads: filters over embedded histories (Caser). What runs here stands in for cuDNN, which the executor does not have.

#include "apps/galrec/meter/workload_list.h"
#include "kernels/convolution/convolution.h"

namespace galrec::apps {

namespace {

template <class T>
void add(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  constexpr std::int64_t kHistories = 512, kItems = 5, kChannels = 64, kOver = 3, kFilters = 16;
  constexpr std::int64_t kRows = kHistories * (kItems - kOver + 1), kDepth = kOver * kChannels;
  const ConvolutionOptions options{.image = {kItems, 1}, .kernel = {kOver, 1}};
  const auto x = m->random<T>(kHistories * kItems, kChannels), w = m->random<T>(kFilters, kDepth),
             y = m->random<T>(kRows, kFilters), dx = m->random<T>(kHistories * kItems, kChannels);
  const auto dw = m->random<float>(kFilters, kDepth);
  const double in = static_cast<double>(x.size()) * kBytes<T>, out = static_cast<double>(y.size()) * kBytes<T>;
  constexpr double weights = kFilters * kDepth, flops = 2.0 * kRows * kFilters * kDepth;
  const std::string shape = extents({{"N", kHistories}, {"L", kItems}, {"C", kChannels}, {"h", kOver}, {"K", kFilters}});
  const auto workload = [&](const char* pass, double load, double store) {
    return KernelWorkload{.name = std::string("convolution ") + pass + kStorage<T>,
                          .shape = shape,
                          .load_bytes = load,
                          .store_bytes = store,
                          .mma_flops = kTensorCores<T> ? flops : 0,
                          .fma_flops = kTensorCores<T> ? 0 : flops,
                          .remark = "cuDNN's stand-in: patches pass through scratch, 16 filters in a tile of 64"};
  };
  list.add(workload("forward", in + weights * kBytes<T>, out), m,
           [=](CudaContext& c) { convolution_forward<T>(c, y, x, w, {}, options); });
  list.add(workload("dx", out + weights * kBytes<T>, in), m,
           [=](CudaContext& c) { convolution_backward_input<T>(c, dx, y, w, options, Accumulate::kOverwrite); });
  list.add(workload("dw", in + out, weights * 4), m,
           [=](CudaContext& c) { convolution_backward_weight<T>(c, dw, y, x, options, Accumulate::kOverwrite); });
}

}  // namespace

void add_convolution(CudaContext& ctx, WorkloadList& list) {
  add<bfloat16>(ctx, list);
  add<float>(ctx, list);
}

}  // namespace galrec::apps
