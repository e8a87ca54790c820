// Workloads: losses over the head and over the queues, and the full ranking.

#include "apps/galrec/meter/workload_list.h"
#include "kernels/info_nce/info_nce.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/topk/topk.h"

namespace galrec::apps {

namespace {

constexpr std::int64_t kAnchors = 64, kQueue = 512, kItems = 4096, kBest = 20;

template <class T>
void add_head(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  // Of 66,564 columns; what does not grow with them is the less beside them.
  constexpr std::int64_t kClasses = kTensorCores<T> ? 8192 : 2048;
  const auto x = m->random<T>(kAnchors, kWidth), dx = m->random<T>(kAnchors, kWidth),
             w = m->random<T>(kClasses, kWidth);
  const auto dw = m->random<float>(kClasses, kWidth);
  const auto losses = m->vector<float>(kAnchors), lse = m->vector<float>(kAnchors), loss = m->vector<float>(1),
             dloss = m->vector<float>(1);
  const auto targets = m->ids(kAnchors, kClasses);
  constexpr double weights = 1.0 * kClasses * kWidth, rows = 1.0 * kAnchors * kWidth;
  constexpr double product = 2.0 * kAnchors * kClasses * kWidth;
  const std::string shape = extents({{"N", kAnchors}, {"V", kClasses}, {"C", kWidth}});
  list.add({.name = "linear cross-entropy forward" + kStorage<T>,
            .shape = shape,
            .load_bytes = (weights + rows) * kBytes<T>,
            .store_bytes = kAnchors * 8,
            .mma_flops = kTensorCores<T> ? product : 0,
            .fma_flops = kTensorCores<T> ? 0 : product,
            .exps = 1.0 * kAnchors * kClasses,
            .remark = kTensorCores<T> ? "" : "fp32: logits of a chunk pass through scratch"},
           m, [=](CudaContext& c) { linear_cross_entropy_forward<T>(c, loss, losses, lse, x, w, {}, targets, 1.0); });
  list.add({.name = "linear cross-entropy backward" + kStorage<T>,
            .shape = shape,
            .load_bytes = (weights + rows) * kBytes<T>,
            .store_bytes = weights * 4 + rows * kBytes<T>,
            .mma_flops = kTensorCores<T> ? 3 * product : 0,
            .fma_flops = kTensorCores<T> ? 0 : 3 * product,
            .exps = 1.0 * kAnchors * kClasses,
            .remark = "logits are not kept: w is read to make them again and once more for dx, their gradients pass "
                      "through scratch"},
           m, [=](CudaContext& c) {
             linear_cross_entropy_backward<T>(c, dx, dw, {}, dloss, x, w, {}, targets, lse, 1.0, Accumulate::kOverwrite,
                                              Accumulate::kOverwrite);
           });
}

template <class T>
void add_contrast(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto x = m->random<T>(kAnchors, kWidth), dx = m->random<T>(kAnchors, kWidth),
             positive = m->random<T>(kAnchors, kWidth), dpositive = m->random<T>(kAnchors, kWidth),
             queue = m->random<T>(kQueue, kWidth);
  const auto losses = m->vector<float>(kAnchors), lse = m->vector<float>(kAnchors), scores = m->vector<float>(kAnchors),
             hardest = m->vector<float>(kAnchors), loss = m->vector<float>(1), dloss = m->vector<float>(1);
  const auto queue_ids = m->ids(kQueue, 100000), own_ids = m->ids(kAnchors, 100000);
  constexpr double ring = kQueue * kWidth, rows = kAnchors * kWidth;
  constexpr double scored = 2.0 * kAnchors * kQueue * kWidth;
  const std::string shape = extents({{"N", kAnchors}, {"Q", kQueue}, {"C", kWidth}});
  list.add({.name = "info_nce forward" + kStorage<T>,
            .shape = shape,
            .load_bytes = (ring + 2 * rows) * kBytes<T> + (kQueue + kAnchors) * 4,
            .store_bytes = kAnchors * 16,
            .mma_flops = kTensorCores<T> ? scored : 0,
            .fma_flops = kTensorCores<T> ? 0 : scored,
            .exps = kAnchors * kQueue},
           m, [=](CudaContext& c) {
             info_nce_forward<T>(c, loss, losses, lse, scores, hardest, x, positive, queue, queue_ids, own_ids, 0.1);
           });
  list.add(
      {.name = "info_nce backward" + kStorage<T>,
       .shape = shape,
       .load_bytes = (ring + 2 * rows) * kBytes<T> + (kQueue + 2 * kAnchors) * 4,
       .store_bytes = 2 * rows * kBytes<T>,
       .mma_flops = kTensorCores<T> ? 2 * scored : 0,
       .fma_flops = kTensorCores<T> ? 0 : 2 * scored,
       .exps = kAnchors * kQueue,
       .remark = "each split of the queue leaves its sums in scratch: without splits one block would hold all of it"},
      m, [=](CudaContext& c) {
        info_nce_backward<T>(c, dx, dpositive, dloss, x, positive, queue, queue_ids, own_ids, lse, 0.1,
                             Accumulate::kOverwrite, Accumulate::kOverwrite);
      });
}

template <class T>
void add_ranking(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  constexpr std::int64_t kUsed = kTensorCores<T> ? kItems : kItems / 2;
  const auto x = m->random<T>(kAnchors, kWidth), items = m->random<T>(kUsed, kWidth);
  const auto indices = m->keep(std::vector<std::int32_t>(kAnchors * kBest), kAnchors, kBest);
  const auto best = m->random<float>(kAnchors, kBest);
  const auto ranks = m->ids(kAnchors, 1), ties = m->ids(kAnchors, 1), targets = m->ids(kAnchors, kUsed);
  const auto scores = m->vector<float>(kAnchors);
  constexpr double loads = 1.0 * (kUsed + kAnchors) * kWidth * kBytes<T>;
  constexpr double flops = 2.0 * kAnchors * kUsed * kWidth;
  const std::string shape = extents({{"N", kAnchors}, {"V", kUsed}, {"C", kWidth}});
  list.add({.name = "top_k" + kStorage<T>,
            .shape = shape + " K=" + std::to_string(kBest),
            .load_bytes = loads,
            .store_bytes = kAnchors * kBest * 8.0,
            .mma_flops = kTensorCores<T> ? flops : 0,
            .fma_flops = kTensorCores<T> ? 0 : flops},
           m, [=](CudaContext& c) { top_k<T>(c, indices, best, x, items, {}, {}); });
  list.add({.name = "target_rank" + kStorage<T>,
            .shape = shape,
            .load_bytes = loads + kAnchors * 4,
            .store_bytes = kAnchors * 12.0,
            .mma_flops = kTensorCores<T> ? flops : 0,
            .fma_flops = kTensorCores<T> ? 0 : flops},
           m, [=](CudaContext& c) { target_rank<T>(c, ranks, ties, scores, x, items, {}, targets, {}); });
}

}  // namespace

void add_losses(CudaContext& ctx, WorkloadList& list) {
  add_head<bfloat16>(ctx, list);
  add_head<float>(ctx, list);
  add_contrast<bfloat16>(ctx, list);
  add_contrast<float>(ctx, list);
  add_ranking<bfloat16>(ctx, list);
  add_ranking<float>(ctx, list);
}

}  // namespace galrec::apps
