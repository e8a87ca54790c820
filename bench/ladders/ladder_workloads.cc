// The shapes on which the ladders are measured.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "bench/ladders/ladder_meter.h"
#include "kernels/attention/ladder/attention_ladder.h"
#include "kernels/common/philox.h"
#include "kernels/gemm/ladder/gemm_ladder.h"
#include "kernels/info_nce/ladder/info_nce_ladder.h"
#include "kernels/rms_norm/ladder/rms_norm_ladder.h"
#include "layers/t5/relative_buckets.h"

namespace galrec::bench {

namespace {

/// Device memory of one ladder.
class Memory {
 public:
  explicit Memory(CudaContext& ctx) : ctx_(ctx) {}

  template <class T>
  View<T, 1> keep(const std::vector<T>& values) {
    auto owned = std::make_shared<Buffer<T>>(std::span<const T>(values), ctx_.memory());
    owners_.push_back(owned);
    return {owned->data(), {static_cast<std::int64_t>(values.size())}};
  }
  /// Numbers of variance 1/12 scale^2.
  template <class T>
  View<T, 2> random(std::int64_t rows, std::int64_t cols, double scale = 1) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0x1add});
    std::vector<T> values(static_cast<std::size_t>(rows * cols));
    for (auto& v : values) v = static_cast<T>(static_cast<float>(scale * (stream.uniform() - 0.5)));
    return {keep(values).data, {rows, cols}};
  }
  template <class T>
  View<T, 1> vector(std::int64_t n) {
    return {random<T>(1, n).data, {n}};
  }
  View<std::int32_t, 1> ids(std::int64_t n, std::uint64_t below) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0x1ade});
    std::vector<std::int32_t> values(static_cast<std::size_t>(n));
    for (auto& v : values) v = static_cast<std::int32_t>(stream.below(below));
    return keep(values);
  }

 private:
  CudaContext& ctx_;
  std::uint64_t seed_ = 0;
  std::vector<std::shared_ptr<void>> owners_;
};

/// The rungs of a table, each bound to its operands; the closures keep the memory.
template <class Function, std::size_t N, class Call>
std::vector<LadderRung> bound(const ladder::Rung<Function> (&rungs)[N], const std::shared_ptr<Memory>& memory, Call call) {
  std::vector<LadderRung> out;
  for (const auto& rung : rungs)
    out.push_back({rung.name, rung.units, [run = rung.run, memory, call](CudaContext& c) { call(c, run); }});
  return out;
}

LadderWorkload gemm_ladder(CudaContext& ctx) {
  constexpr std::int64_t kSide = 512;
  constexpr double n = kSide * kSide * 2.0;
  auto m = std::make_shared<Memory>(ctx);
  const auto a = m->random<bfloat16>(kSide, kSide), w = m->random<bfloat16>(kSide, kSide), c = m->random<bfloat16>(kSide, kSide);
  return {.operation = "gemm",
          .shape = "M = N = K = 512, bf16",
          .load_bytes = 2 * n,
          .store_bytes = n,
          .flops = 2.0 * kSide * kSide * kSide,
          .rungs = bound(ladder::kGemmRungs, m, [=](CudaContext& x, ladder::Gemm* run) { run(x, c, a, w); })};
}

// Tokens of the prompts of two samples of Amazon Beauty, as in `galrec bench kernels`.
const std::vector<std::int32_t> kLengths = {4, 41, 137, 4, 33, 171, 4, 29, 118, 4, 45, 186};
const std::int64_t kTokens = std::accumulate(kLengths.begin(), kLengths.end(), std::int64_t{0});

LadderWorkload attention_ladder(CudaContext& ctx) {
  constexpr std::int64_t kHeads = 4, kWidth = kHeads * ladder::kHeadDim, kBuckets = 32;
  auto m = std::make_shared<Memory>(ctx);
  std::vector<std::int32_t> offsets{0};
  double pairs = 0;
  for (const auto length : kLengths) {
    offsets.push_back(offsets.back() + length);
    pairs += static_cast<double>(length) * length;
  }
  const layers::BucketTable table(layers::BucketDirection::kBidirectional, kBuckets, 128);
  const auto distances = table.view().index;
  const auto qkv = m->random<bfloat16>(kTokens, 3 * kWidth);
  const auto part = [&](std::int64_t i) { return View<const bfloat16, 2>(qkv.slice_cols(i * kWidth, kWidth)); };
  const ladder::SelfAttention x{
      .o = m->random<bfloat16>(kTokens, kWidth),
      .lse = m->random<float>(kTokens, kHeads),
      .q = part(0),
      .k = part(1),
      .v = part(2),
      .cu = m->keep(offsets),
      .longest = *std::max_element(kLengths.begin(), kLengths.end()),
      .table = m->random<float>(kBuckets, kHeads),
      .buckets = {m->keep(std::vector<std::int32_t>(distances.data, distances.data + distances.extent(0)))}};
  const double n = static_cast<double>(kTokens) * kWidth * 2;
  return {.operation = "attention",
          .shape = fmt::format("{} tokens in {} prompts of 4 to 186, 4 heads of 64, T5's bias, bf16", kTokens, kLengths.size()),
          .load_bytes = 3 * n,
          .store_bytes = n + static_cast<double>(kTokens) * kHeads * 4,
          .flops = 4 * pairs * kWidth,
          .exps = pairs * kHeads,
          .rungs = bound(ladder::kAttentionRungs, m, [=](CudaContext& c, ladder::Attention* run) { run(c, x); })};
}

LadderWorkload rms_norm_ladder(CudaContext& ctx) {
  constexpr std::int64_t kWidth = 768;
  auto m = std::make_shared<Memory>(ctx);
  const auto x = m->random<bfloat16>(kTokens, kWidth), y = m->random<bfloat16>(kTokens, kWidth);
  const auto residual = m->random<float>(kTokens, kWidth), sum = m->random<float>(kTokens, kWidth);
  const auto weight = m->vector<float>(kWidth);
  const double n = static_cast<double>(kTokens) * kWidth;
  const auto call = [=](CudaContext& c, ladder::RmsNorm* run) { run(c, y, sum, x, residual, weight, 1e-6f); };
  return {.operation = "rms_norm",
          .shape = fmt::format("{} rows of {}: x and y bf16, the residual stream fp32", kTokens, kWidth),
          .load_bytes = 6 * n + 4 * kWidth,
          .store_bytes = 6 * n,
          .rungs = bound(ladder::kRmsNormRungs, m, call)};
}

LadderWorkload info_nce_ladder(CudaContext& ctx) {
  constexpr std::int64_t kAnchors = 64, kQueue = 512, kWidth = 768;
  auto m = std::make_shared<Memory>(ctx);
  const double unit = std::sqrt(12.0 / kWidth);
  const ladder::NceInputs in{.anchor = m->random<bfloat16>(kAnchors, kWidth, unit),
                             .positive = m->random<bfloat16>(kAnchors, kWidth, unit),
                             .queue = m->random<bfloat16>(kQueue, kWidth, unit),
                             .queue_ids = m->ids(kQueue, 100000),
                             .own_ids = m->ids(kAnchors, 100000),
                             .tau = 0.1f};
  const auto losses = m->vector<float>(kAnchors), lse = m->vector<float>(kAnchors);
  return {.operation = "info_nce",
          .shape = fmt::format("{} anchors, a queue of {}, width {}, bf16", kAnchors, kQueue, kWidth),
          .load_bytes = (kQueue + 2.0 * kAnchors) * kWidth * 2,
          .store_bytes = kAnchors * 8.0,
          .flops = 2.0 * kAnchors * kQueue * kWidth,
          .exps = kAnchors * (kQueue + 1.0),
          .rungs = bound(ladder::kInfoNceRungs, m, [=](CudaContext& c, ladder::InfoNce* run) { run(c, losses, lse, in); })};
}

}  // namespace

std::vector<LadderWorkload> ladder_workloads(CudaContext& ctx) {
  return {gemm_ladder(ctx), attention_ladder(ctx), rms_norm_ladder(ctx), info_nce_ladder(ctx)};
}

}  // namespace galrec::bench
