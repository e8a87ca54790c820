// Workloads: what walks rows of the residual stream.

#include <algorithm>

#include "apps/galrec/meter/workload_list.h"
#include "kernels/activation/activation.h"
#include "kernels/common/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/rms_norm/rms_norm.h"

namespace galrec::apps {

namespace {

constexpr auto kOverwrite = Accumulate::kOverwrite;
constexpr double kElements = kTokens * kWidth;

Dropout dropout(int stream) {
  return {.rate = 0.1, .key = {.seed = 1, .step = 1, .stream = static_cast<std::uint32_t>(stream)}};
}
std::string rows_shape() {
  return extents({{"N", kTokens}, {"C", kWidth}});
}

template <class T>
void add_norms(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto x = m->random<T>(kTokens, kWidth), y = m->random<T>(kTokens, kWidth), dx = m->random<T>(kTokens, kWidth);
  const auto residual = m->random<float>(kTokens, kWidth), sum = m->random<float>(kTokens, kWidth),
             dsum = m->random<float>(kTokens, kWidth);
  const auto weight = m->vector<float>(kWidth), bias = m->vector<float>(kWidth), dweight = m->vector<float>(kWidth),
             dbias = m->vector<float>(kWidth), rstd = m->vector<float>(kTokens), mean = m->vector<float>(kTokens);
  const RmsNormOptions rms{.eps = 1e-6, .dropout = dropout(1)};
  const LayerNormOptions layer{.eps = 1e-12, .dropout = dropout(1)};
  constexpr double move = kElements * (kBytes<T> + 4), back = kElements * (kBytes<T> + 8), w = kWidth * 4,
                   r = kTokens * 4;
  list.add({.name = "rms_norm forward" + kStorage<T>,
            .shape = rows_shape(),
            .load_bytes = move + w,
            .store_bytes = move + r},
           m, [=](CudaContext& c) { rms_norm_forward<T>(c, y, sum, rstd, x, residual, weight, rms); });
  list.add({.name = "rms_norm backward" + kStorage<T>,
            .shape = rows_shape(),
            .load_bytes = back + w + r,
            .store_bytes = move + w},
           m, [=](CudaContext& c) {
             rms_norm_backward<T>(c, dx, dsum, dweight, y, dsum, sum, weight, rstd, rms, kOverwrite, kOverwrite,
                                  kOverwrite);
           });
  list.add({.name = "layer_norm forward" + kStorage<T>,
            .shape = rows_shape(),
            .load_bytes = move + 2 * w,
            .store_bytes = move + 2 * r},
           m, [=](CudaContext& c) { layer_norm_forward<T>(c, y, sum, mean, rstd, x, residual, weight, bias, layer); });
  list.add({.name = "layer_norm backward" + kStorage<T>,
            .shape = rows_shape(),
            .load_bytes = back + w + 2 * r,
            .store_bytes = move + 2 * w},
           m, [=](CudaContext& c) {
             layer_norm_backward<T>(c, dx, dsum, dweight, dbias, y, dsum, sum, weight, mean, rstd, layer, kOverwrite,
                                    kOverwrite, kOverwrite);
           });
}

template <class T>
void add_activation(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto wide = m->random<T>(kTokens, 2 * kInner), dwide = m->random<T>(kTokens, 2 * kInner),
             y = m->random<T>(kTokens, kInner);
  constexpr double n = kTokens * kInner;
  const Dropout drop = dropout(2);
  const std::string shape = extents({{"N", kTokens}, {"F", kInner}});
  list.add({.name = "gated GELU forward" + kStorage<T>,
            .shape = shape,
            .load_bytes = 2 * n * kBytes<T>,
            .store_bytes = n * kBytes<T>,
            .exps = n},
           m, [=](CudaContext& c) {
             gated_activation_forward<T>(c, y, wide.slice_cols(0, kInner), wide.slice_cols(kInner, kInner),
                                         ActivationKind::kGeluTanh, drop);
           });
  list.add({.name = "gated GELU backward" + kStorage<T>,
            .shape = shape,
            .load_bytes = 3 * n * kBytes<T>,
            .store_bytes = 2 * n * kBytes<T>,
            .exps = n},
           m, [=](CudaContext& c) {
             gated_activation_backward<T>(c, dwide.slice_cols(0, kInner), dwide.slice_cols(kInner, kInner), y,
                                          wide.slice_cols(0, kInner), wide.slice_cols(kInner, kInner),
                                          ActivationKind::kGeluTanh, drop, kOverwrite);
           });
}

template <class T>
void add_embedding(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  constexpr std::int64_t kTable = 4096;
  const auto table = m->random<float>(kTable, kWidth), dtable = m->random<float>(kTable, kWidth);
  const auto y = m->random<T>(kTokens, kWidth);
  // Tokens of prompts repeat.
  std::vector<std::int32_t> drawn(kTokens);
  PhiloxStream stream({.seed = 7, .step = 0, .stream = 0x3e81});
  for (auto& id : drawn) id = static_cast<std::int32_t>(stream.below(512));
  const auto ids = m->keep(drawn);
  std::sort(drawn.begin(), drawn.end());
  const double different = static_cast<double>(std::unique(drawn.begin(), drawn.end()) - drawn.begin());
  const std::string shape = extents({{"N", kTokens}, {"V", kTable}, {"C", kWidth}});
  list.add({.name = "embedding forward" + kStorage<T>,
            .shape = shape,
            .load_bytes = different * kWidth * 4.0 + kTokens * 4,
            .store_bytes = kElements * kBytes<T>},
           m, [=](CudaContext& c) { embedding_forward<T>(c, y, table, ids, kOverwrite); });
  list.add({.name = "embedding backward" + kStorage<T>,
            .shape = shape,
            .load_bytes = kElements * kBytes<T> + kTokens * 4,
            .store_bytes = kTable * 4.0 * kWidth},
           m, [=](CudaContext& c) { embedding_backward<T>(c, dtable, y, ids, kOverwrite); });
}

template <class T>
void add_pooling(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  constexpr auto kSegments = static_cast<std::int64_t>(kLengths.size());
  constexpr std::int64_t kRows = 256;  // pooled prompts of a batch
  const auto x = m->random<T>(kTokens, kWidth), pooled = m->random<T>(kSegments, kWidth);
  const auto cu = m->prompt_offsets();
  const auto p = m->random<T>(kRows, kWidth), y = m->random<T>(kRows, kWidth), dp = m->random<T>(kRows, kWidth);
  const auto norm = m->vector<float>(kRows);
  constexpr double short_bytes = kSegments * kWidth * kBytes<T>, long_bytes = kElements * kBytes<T>,
                   n = kRows * kWidth * kBytes<T>;
  const std::string segments = extents({{"N", kTokens}, {"S", kSegments}, {"C", kWidth}});
  const std::string rows = extents({{"N", kRows}, {"C", kWidth}});
  list.add({.name = "segment_mean forward" + kStorage<T>,
            .shape = segments,
            .load_bytes = long_bytes,
            .store_bytes = short_bytes},
           m, [=](CudaContext& c) { segment_mean_forward<T>(c, pooled, x, cu); });
  list.add({.name = "segment_mean backward" + kStorage<T>,
            .shape = segments,
            .load_bytes = short_bytes,
            .store_bytes = long_bytes},
           m, [=](CudaContext& c) { segment_mean_backward<T>(c, x, pooled, cu, kOverwrite); });
  list.add({.name = "l2_normalize forward" + kStorage<T>, .shape = rows, .load_bytes = n, .store_bytes = n + kRows * 4},
           m, [=](CudaContext& c) { l2_normalize_forward<T>(c, y, norm, p); });
  list.add(
      {.name = "l2_normalize backward" + kStorage<T>, .shape = rows, .load_bytes = 2 * n + kRows * 4, .store_bytes = n},
      m, [=](CudaContext& c) { l2_normalize_backward<T>(c, dp, p, y, norm, kOverwrite); });
}

template <class T>
void add_elementwise(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto x = m->random<T>(kTokens, kWidth), y = m->random<T>(kTokens, kWidth);
  constexpr double n = kElements * kBytes<T>;
  list.add({.name = "add_scaled" + kStorage<T>, .shape = rows_shape(), .load_bytes = 2 * n, .store_bytes = n}, m,
           [=](CudaContext& c) { add_scaled<T>(c, y, x, 0.5, Accumulate::kAdd); });
  if constexpr (kTensorCores<T>) {
    const auto wide = m->random<float>(kTokens, kWidth);
    list.add({.name = "convert fp32 to bf16", .shape = rows_shape(), .load_bytes = 2 * n, .store_bytes = n}, m,
             [=](CudaContext& c) { convert<T, float>(c, y, wide, kOverwrite); });
  }
}

template <class T>
void add_all(CudaContext& ctx, WorkloadList& list) {
  add_norms<T>(ctx, list);
  add_activation<T>(ctx, list);
  add_embedding<T>(ctx, list);
  add_pooling<T>(ctx, list);
  add_elementwise<T>(ctx, list);
}

}  // namespace

void add_rows(CudaContext& ctx, WorkloadList& list) {
  add_all<bfloat16>(ctx, list);
  add_all<float>(ctx, list);
}

}  // namespace galrec::apps
