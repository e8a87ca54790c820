// Workloads: plain products.

#include "apps/galrec/meter/workload_list.h"
#include "kernels/gemm/gemm.h"

namespace galrec::apps {

namespace {

template <class T>
void add(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  // Four samples, so that the last tile of 128 rows weighs as little as it does in a batch; exact fp32 takes the
  // executor long.
  constexpr std::int64_t rows = kTensorCores<T> ? 2 * kTokens : kTokens;
  const auto x = m->random<T>(rows, kWidth), w = m->random<T>(kWidth, kWidth), y = m->random<T>(rows, kWidth),
             dx = m->random<T>(rows, kWidth);
  const auto dw = m->random<float>(kWidth, kWidth);
  constexpr double mn = rows * kWidth, nk = kWidth * kWidth, mk = mn;
  constexpr double flops = 2.0 * rows * kWidth * kWidth;
  const std::string shape = extents({{"M", rows}, {"N", kWidth}, {"K", kWidth}});
  list.add({.name = "gemm o forward" + kStorage<T>,
            .shape = shape,
            .load_bytes = (mk + nk) * kBytes<T>,
            .store_bytes = mn * kBytes<T>,
            .mma_flops = kTensorCores<T> ? flops : 0,
            .fma_flops = kTensorCores<T> ? 0 : flops},
           m, [=](CudaContext& c) { gemm<T>(c, y, x, w, {.b = Transpose::kYes}); });
  list.add({.name = "gemm o dx" + kStorage<T>,
            .shape = shape,
            .load_bytes = (mn + nk) * kBytes<T>,
            .store_bytes = mk * kBytes<T>,
            .mma_flops = kTensorCores<T> ? flops : 0,
            .fma_flops = kTensorCores<T> ? 0 : flops},
           m, [=](CudaContext& c) { gemm<T>(c, dx, y, w, {}); });
  list.add(
      {.name = "gemm o dw" + kStorage<T>,
       .shape = shape,
       .load_bytes = (mn + mk) * kBytes<T>,
       .store_bytes = nk * 4,
       .mma_flops = kTensorCores<T> ? flops : 0,
       .fma_flops = kTensorCores<T> ? 0 : flops,
       .remark = kTensorCores<T> ? "36 tiles for 132 SMs: three slices of K, whose sums pass through scratch" : ""},
      m, [=](CudaContext& c) { gemm<T>(c, dw, y, x, {.a = Transpose::kYes}); });
}

}  // namespace

void add_products(CudaContext& ctx, WorkloadList& list) {
  add<bfloat16>(ctx, list);
  add<float>(ctx, list);
}

}  // namespace galrec::apps
