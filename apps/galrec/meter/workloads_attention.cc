// Workloads: attention of the encoder over packed prompts, of the decoder's one step over them.

#include "apps/galrec/meter/workload_list.h"
#include "kernels/attention/attention.h"
#include "layers/t5/relative_buckets.h"

namespace galrec::apps {

namespace {

constexpr auto kPrompts = static_cast<std::int64_t>(kLengths.size());

/// Sum over prompts of length squared: the (query, key) pairs of one head.
constexpr double pairs() {
  double sum = 0;
  for (const auto n : kLengths) sum += static_cast<double>(n) * n;
  return sum;
}

constexpr const char* kTwoPasses = "fp32 tiles: keys and queries in passes of their own, each reads q, k, v, do";

AttentionOptions options(std::uint64_t stream) {
  return {.heads = static_cast<int>(kHeads),
          .scale = 1.0,
          .mask = AttentionMask::kNone,
          .dropout = {.rate = 0.1, .key = {.seed = 1, .step = 1, .stream = static_cast<std::uint32_t>(stream)}}};
}

template <class T>
void add_encoder(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto qkv = m->random<T>(kTokens, 3 * kWidth), dqkv = m->random<T>(kTokens, 3 * kWidth);
  const auto o = m->random<T>(kTokens, kWidth), dout = m->random<T>(kTokens, kWidth);
  const auto lse = m->random<float>(kTokens, kHeads), table = m->random<float>(kBuckets, kHeads),
             dtable = m->random<float>(kBuckets, kHeads);
  const auto cu = m->prompt_offsets();
  const auto part = [](View<T, 2> v, std::int64_t i) { return v.slice_cols(i * kWidth, kWidth); };
  const layers::BucketTable host(layers::BucketDirection::kBidirectional, kBuckets, 128);
  const auto distances = host.view().index;
  const RelativeBuckets buckets{
      m->keep(std::vector<std::int32_t>(distances.data, distances.data + distances.extent(0)))};
  constexpr double n = kTokens * kWidth, rows = kTokens * kHeads;
  constexpr double product = 2 * pairs() * kWidth, scores = pairs() * kHeads;
  const std::string shape = extents({{"tokens", kTokens}, {"prompts", kPrompts}, {"H", kHeads}, {"D", 64}});
  list.add(
      {.name = "attention forward" + kStorage<T>,
       .shape = shape,
       .load_bytes = 3 * n * kBytes<T>,
       .store_bytes = n * kBytes<T> + rows * 4,
       .mma_flops = kTensorCores<T> ? 2 * product : 0,
       .fma_flops = kTensorCores<T> ? 0 : 2 * product,
       .exps = scores,
       .remark = kTensorCores<T>
                     ? "tiles of 16 queries by 16 keys round ragged lengths up; of lse, (T, H), a block writes one head"
                     : ""},
      m, [=](CudaContext& c) {
        attention_forward<T>(c, o, lse, part(qkv, 0), part(qkv, 1), part(qkv, 2), cu, cu, table, buckets, options(3));
      });
  list.add({.name = "attention backward" + kStorage<T>,
            .shape = shape,
            .load_bytes = 5 * n * kBytes<T> + rows * 4,
            .store_bytes = 3 * n * kBytes<T>,
            .mma_flops = kTensorCores<T> ? 5 * product : 0,
            .fma_flops = kTensorCores<T> ? 0 : 5 * product,
            .exps = scores,
            .remark = kTensorCores<T> ? "tiles of 16 keys by 16 or 32 queries round ragged lengths up" : kTwoPasses},
           m, [=](CudaContext& c) {
             attention_backward<T>(c, part(dqkv, 0), part(dqkv, 1), part(dqkv, 2), dtable, dout, part(qkv, 0),
                                   part(qkv, 1), part(qkv, 2), o, lse, cu, cu, table, buckets, options(3),
                                   Accumulate::kOverwrite, Accumulate::kOverwrite);
           });
}

template <class T>
void add_cross(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto q = m->random<T>(kPrompts, kWidth), o = m->random<T>(kPrompts, kWidth),
             dq = m->random<T>(kPrompts, kWidth), dout = m->random<T>(kPrompts, kWidth);
  const auto kv = m->random<T>(kTokens, 2 * kWidth), dkv = m->random<T>(kTokens, 2 * kWidth);
  const auto lse = m->random<float>(kPrompts, kHeads);
  std::vector<std::int32_t> one(static_cast<std::size_t>(kPrompts + 1));
  std::iota(one.begin(), one.end(), 0);
  const auto cu_q = m->keep(one), cu_k = m->prompt_offsets();
  const auto part = [](View<T, 2> v, std::int64_t i) { return v.slice_cols(i * kWidth, kWidth); };
  constexpr double n = kTokens * kWidth, queries = kPrompts * kWidth;
  const std::string shape = extents({{"queries", kPrompts}, {"keys", kTokens}, {"H", kHeads}, {"D", 64}});
  const std::string remark = kTensorCores<T> ? "one query a prompt fills one row of 16 of a tensor core's tile" : "";
  list.add({.name = "cross attention forward" + kStorage<T>,
            .shape = shape,
            .load_bytes = (queries + 2 * n) * kBytes<T>,
            .store_bytes = queries * kBytes<T> + kPrompts * kHeads * 4,
            .mma_flops = kTensorCores<T> ? 4 * n : 0,
            .fma_flops = kTensorCores<T> ? 0 : 4 * n,
            .exps = kTokens * kHeads,
            .remark = remark},
           m, [=](CudaContext& c) {
             attention_forward<T>(c, o, lse, q, part(kv, 0), part(kv, 1), cu_q, cu_k, {}, {}, options(4));
           });
  list.add({.name = "cross attention backward" + kStorage<T>,
            .shape = shape,
            .load_bytes = (3 * queries + 2 * n) * kBytes<T> + kPrompts * kHeads * 4,
            .store_bytes = (queries + 2 * n) * kBytes<T>,
            .mma_flops = kTensorCores<T> ? 10 * n : 0,
            .fma_flops = kTensorCores<T> ? 0 : 10 * n,
            .exps = kTokens * kHeads,
            .remark = kTensorCores<T> ? remark : kTwoPasses},
           m, [=](CudaContext& c) {
             attention_backward<T>(c, dq, part(dkv, 0), part(dkv, 1), {}, dout, q, part(kv, 0), part(kv, 1), o, lse,
                                   cu_q, cu_k, {}, {}, options(4), Accumulate::kOverwrite, Accumulate::kOverwrite);
           });
}

}  // namespace

void add_attention(CudaContext& ctx, WorkloadList& list) {
  add_encoder<bfloat16>(ctx, list);
  add_encoder<float>(ctx, list);
  add_cross<bfloat16>(ctx, list);
  add_cross<float>(ctx, list);
}

}  // namespace galrec::apps
