#include "apps/galrec/meter/kernel_workloads.h"

#include <array>
#include <memory>
#include <numeric>
#include <utility>

#include "kernels/activation/activation.h"
#include "kernels/adamw/adamw.h"
#include "kernels/attention/attention.h"
#include "kernels/common/philox.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gemm/gemm.h"
#include "kernels/info_nce/info_nce.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/pooling/pooling.h"
#include "kernels/ranking_loss/ranking_loss.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/spmm/spmm.h"
#include "kernels/topk/topk.h"
#include "layers/t5/relative_buckets.h"

namespace galrec::apps {

namespace {

// flan-t5-base.
constexpr std::int64_t kWidth = 768, kHeads = 12, kInner = 2048, kBuckets = 32;
// Tokens of the six prompts of two samples of Amazon Beauty (u0 u1 u2 i0 i1 i2), near the medians of their hops.
constexpr std::array<std::int32_t, 12> kLengths = {4, 41, 137, 4, 33, 171, 4, 29, 118, 4, 45, 186};
constexpr std::int64_t kTokens = std::accumulate(kLengths.begin(), kLengths.end(), std::int64_t{0});
constexpr std::int64_t kClasses = 8192;  // of the head, cut
constexpr std::int64_t kItems = 4096, kQueue = 512, kAnchors = 64, kParameters = 1 << 20;

/// Sum over prompts of length squared: the (query, key) pairs of one head.
constexpr double pairs() {
  double sum = 0;
  for (const auto n : kLengths) sum += static_cast<double>(n) * n;
  return sum;
}

/// Device memory of the workloads; shared by their closures.
class Memory {
 public:
  explicit Memory(CudaContext& ctx) : ctx_(ctx) {}

  template <class T>
  View<T, 2> random(std::int64_t rows, std::int64_t cols, double scale = 1) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0x3e7e});
    std::vector<T> values(static_cast<std::size_t>(rows * cols));
    for (auto& v : values) v = static_cast<T>(static_cast<float>(scale * (stream.uniform() - 0.5)));
    return keep<T>(values, rows, cols);
  }
  template <class T>
  View<T, 1> vector(std::int64_t n, double scale = 1) {
    return {random<T>(1, n, scale).data, {n}};
  }
  View<std::int32_t, 1> ids(std::int64_t n, std::int64_t below) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0x3e7f});
    std::vector<std::int32_t> values(static_cast<std::size_t>(n));
    for (auto& v : values) v = static_cast<std::int32_t>(stream.below(static_cast<std::uint64_t>(below)));
    return {keep<std::int32_t>(values, 1, n).data, {n}};
  }
  template <class T>
  View<T, 2> keep(const std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
    auto owned = std::make_shared<Buffer<T>>(std::span<const T>(values), ctx_.memory());
    owners_.push_back(owned);
    return owned->view(rows, cols);
  }
  template <class T>
  View<T, 1> keep(const std::vector<T>& values) {
    const auto n = static_cast<std::int64_t>(values.size());
    return {keep<T>(values, 1, n).data, {n}};
  }

 private:
  CudaContext& ctx_;
  std::uint64_t seed_ = 0;
  std::vector<std::shared_ptr<void>> owners_;
};

template <class T>
constexpr double kBytes = sizeof(T);

std::string text(std::initializer_list<std::pair<const char*, std::int64_t>> extents) {
  std::string out;
  for (const auto& [name, n] : extents) out += (out.empty() ? "" : " ") + std::string(name) + "=" + std::to_string(n);
  return out;
}

/// What the lists below append to.
struct List {
  CudaContext& ctx;
  std::shared_ptr<Memory> memory;
  std::vector<KernelWorkload> workloads;

  /// The closure keeps the memory alive.
  template <class F>
  void add(KernelWorkload w, F f) {
    w.run = [memory = memory, f](CudaContext& c) { f(c); };
    workloads.push_back(std::move(w));
  }
};

template <class T>
void add_norms(List& list, const std::string& type) {
  Memory& m = *list.memory;
  constexpr double n = kTokens * kWidth;
  const auto x = m.random<T>(kTokens, kWidth), y = m.random<T>(kTokens, kWidth), dx = m.random<T>(kTokens, kWidth);
  const auto residual = m.random<float>(kTokens, kWidth), sum = m.random<float>(kTokens, kWidth),
             dsum = m.random<float>(kTokens, kWidth);
  const auto weight = m.vector<float>(kWidth), rstd = m.vector<float>(kTokens), dweight = m.vector<float>(kWidth);
  const RmsNormOptions options{.eps = 1e-6, .dropout = {.rate = 0.1, .key = {.seed = 1, .step = 1, .stream = 1}}};
  const std::string shape = text({{"N", kTokens}, {"C", kWidth}});
  list.add({"rms_norm forward " + type,
            shape,
            n * (kBytes<T> + 4) + kWidth * 4,
            n * (kBytes<T> + 4) + kTokens * 4,
            0,
            "",
            {}},
           [=](CudaContext& c) { rms_norm_forward<T>(c, y, sum, rstd, x, residual, weight, options); });
  list.add({"rms_norm backward " + type,
            shape,
            n * (kBytes<T> + 8) + kWidth * 4 + kTokens * 4,
            n * (kBytes<T> + 4) + kWidth * 4,
            0,
            "",
            {}},
           [=](CudaContext& c) {
             rms_norm_backward<T>(c, dx, dsum, dweight, y, dsum, sum, weight, rstd, options, Accumulate::kOverwrite,
                                  Accumulate::kOverwrite, Accumulate::kOverwrite);
           });
}

template <class T>
void add_activation(List& list, const std::string& type) {
  Memory& m = *list.memory;
  const auto wide = m.random<T>(kTokens, 2 * kInner), dwide = m.random<T>(kTokens, 2 * kInner),
             y = m.random<T>(kTokens, kInner);
  constexpr double n = kTokens * kInner;
  const Dropout dropout{.rate = 0.1, .key = {.seed = 1, .step = 1, .stream = 2}};
  const std::string shape = text({{"N", kTokens}, {"F", kInner}});
  list.add({"gated GELU forward " + type, shape, 2 * n * kBytes<T>, n * kBytes<T>, 0, "", {}}, [=](CudaContext& c) {
    gated_activation_forward<T>(c, y, wide.slice_cols(0, kInner), wide.slice_cols(kInner, kInner),
                                ActivationKind::kGeluTanh, dropout);
  });
  list.add({"gated GELU backward " + type, shape, 3 * n * kBytes<T>, 2 * n * kBytes<T>, 0, "", {}},
           [=](CudaContext& c) {
             gated_activation_backward<T>(c, dwide.slice_cols(0, kInner), dwide.slice_cols(kInner, kInner), y,
                                          wide.slice_cols(0, kInner), wide.slice_cols(kInner, kInner),
                                          ActivationKind::kGeluTanh, dropout, Accumulate::kOverwrite);
           });
}

template <class T>
void add_gemm(List& list, const std::string& type) {
  Memory& m = *list.memory;
  const bool tensor_cores = sizeof(T) == 2;
  const auto x = m.random<T>(kTokens, kWidth), w = m.random<T>(3 * kWidth, kWidth),
             y = m.random<T>(kTokens, 3 * kWidth);
  const auto dw = m.random<float>(3 * kWidth, kWidth), dx = m.random<T>(kTokens, kWidth).slice_rows(0, kTokens);
  constexpr double mn = kTokens * 3.0 * kWidth, nk = 3.0 * kWidth * kWidth, mk = kTokens * 1.0 * kWidth;
  constexpr double flops = 2.0 * kTokens * 3 * kWidth * kWidth;
  const std::string remark = "each operand is read once per tile of the other";
  const std::string shape = text({{"M", kTokens}, {"N", 3 * kWidth}, {"K", kWidth}});
  list.add({"gemm q|k|v forward " + type,
            shape,
            (mk + nk) * kBytes<T>,
            mn * kBytes<T>,
            tensor_cores ? flops : 0,
            remark,
            {}},
           [=](CudaContext& c) { gemm<T>(c, y, x, w, {.b = Transpose::kYes}); });
  list.add(
      {"gemm q|k|v dx " + type, shape, (mn + nk) * kBytes<T>, mk * kBytes<T>, tensor_cores ? flops : 0, remark, {}},
      [=](CudaContext& c) { gemm<T>(c, dx, y, w, {}); });
  list.add({"gemm q|k|v dw " + type, shape, (mn + mk) * kBytes<T>, nk * 4, tensor_cores ? flops : 0, remark, {}},
           [=](CudaContext& c) { gemm<T>(c, dw, y, x, {.a = Transpose::kYes}); });
}

template <class T>
void add_attention(List& list, const std::string& type) {
  Memory& m = *list.memory;
  const auto qkv = m.random<T>(kTokens, 3 * kWidth), dqkv = m.random<T>(kTokens, 3 * kWidth);
  const auto o = m.random<T>(kTokens, kWidth), dout = m.random<T>(kTokens, kWidth);
  const auto lse = m.random<float>(kTokens, kHeads), table = m.random<float>(kBuckets, kHeads),
             dtable = m.random<float>(kBuckets, kHeads);
  std::vector<std::int32_t> offsets{0};
  for (const auto n : kLengths) offsets.push_back(offsets.back() + n);
  const auto cu = m.keep(offsets);
  const auto part = [](View<T, 2> v, std::int64_t i) { return v.slice_cols(i * kWidth, kWidth); };
  const layers::BucketTable host(layers::BucketDirection::kBidirectional, kBuckets, 128);
  const auto distances = host.view().index;
  const auto index = m.keep(std::vector<std::int32_t>(distances.data, distances.data + distances.extent(0)));
  const RelativeBuckets buckets{index};
  const AttentionOptions options{.heads = static_cast<int>(kHeads),
                                 .scale = 1.0,
                                 .mask = AttentionMask::kNone,
                                 .dropout = {.rate = 0.1, .key = {.seed = 1, .step = 1, .stream = 3}}};
  constexpr double n = kTokens * kWidth, rows = kTokens * kHeads, product = 2 * pairs() * kWidth;
  const bool tensor_cores = sizeof(T) == 2;
  const std::string shape = text({{"tokens", kTokens}, {"prompts", 12}, {"H", kHeads}, {"D", 64}});
  list.add({"attention forward " + type,
            shape,
            3 * n * kBytes<T>,
            n * kBytes<T> + rows * 4,
            tensor_cores ? 2 * product : 0,
            "tiles of 16 queries and 8 keys round ragged prompts up",
            {}},
           [=](CudaContext& c) {
             attention_forward<T>(c, o, lse, part(qkv, 0), part(qkv, 1), part(qkv, 2), cu, cu, table, buckets, options);
           });
  list.add({"attention backward " + type,
            shape,
            5 * n * kBytes<T> + rows * 4,
            3 * n * kBytes<T>,
            tensor_cores ? 5 * product : 0,
            "as forward",
            {}},
           [=](CudaContext& c) {
             attention_backward<T>(c, part(dqkv, 0), part(dqkv, 1), part(dqkv, 2), dtable, dout, part(qkv, 0),
                                   part(qkv, 1), part(qkv, 2), o, lse, cu, cu, table, buckets, options,
                                   Accumulate::kOverwrite, Accumulate::kOverwrite);
           });
}

template <class T>
void add_losses(List& list, const std::string& type) {
  Memory& m = *list.memory;
  const bool tensor_cores = sizeof(T) == 2;
  const auto x = m.random<T>(kAnchors, kWidth), dx = m.random<T>(kAnchors, kWidth), w = m.random<T>(kClasses, kWidth);
  const auto dw = m.random<float>(kClasses, kWidth);
  const auto losses = m.vector<float>(kAnchors), lse = m.vector<float>(kAnchors), scores = m.vector<float>(kAnchors),
             hardest = m.vector<float>(kAnchors);
  const auto loss = m.vector<float>(1), dloss = m.vector<float>(1);
  const auto targets = m.ids(kAnchors, kClasses);
  constexpr double weights = kClasses * 1.0 * kWidth, rows = kAnchors * 1.0 * kWidth,
                   product = 2.0 * kAnchors * kClasses * kWidth;
  const std::string shape = text({{"N", kAnchors}, {"V", kClasses}, {"C", kWidth}});
  list.add({"linear cross-entropy forward " + type,
            shape,
            (weights + rows) * kBytes<T>,
            kAnchors * 8,
            tensor_cores ? product : 0,
            "",
            {}},
           [=](CudaContext& c) { linear_cross_entropy_forward<T>(c, loss, losses, lse, x, w, {}, targets, 1.0); });
  list.add({"linear cross-entropy backward " + type,
            shape,
            (weights + rows) * kBytes<T>,
            weights * 4 + rows * kBytes<T>,
            tensor_cores ? 3 * product : 0,
            "logits of a chunk are made again and pass through scratch",
            {}},
           [=](CudaContext& c) {
             linear_cross_entropy_backward<T>(c, dx, dw, {}, dloss, x, w, {}, targets, lse, 1.0, Accumulate::kOverwrite,
                                              Accumulate::kOverwrite);
           });

  const auto positive = m.random<T>(kAnchors, kWidth), dpositive = m.random<T>(kAnchors, kWidth),
             queue = m.random<T>(kQueue, kWidth);
  const auto queue_ids = m.ids(kQueue, 100000), own_ids = m.ids(kAnchors, 100000);
  constexpr double ring = kQueue * 1.0 * kWidth, scored = 2.0 * kAnchors * kQueue * kWidth;
  const std::string nce = text({{"N", kAnchors}, {"Q", kQueue}, {"C", kWidth}});
  list.add({"info_nce forward " + type,
            nce,
            (ring + 2 * rows) * kBytes<T>,
            kAnchors * 16,
            tensor_cores ? scored : 0,
            "",
            {}},
           [=](CudaContext& c) {
             info_nce_forward<T>(c, loss, losses, lse, scores, hardest, x, positive, queue, queue_ids, own_ids, 0.1);
           });
  list.add({"info_nce backward " + type,
            nce,
            (ring + 2 * rows) * kBytes<T>,
            2 * rows * kBytes<T>,
            tensor_cores ? 2 * scored : 0,
            "",
            {}},
           [=](CudaContext& c) {
             info_nce_backward<T>(c, dx, dpositive, dloss, x, positive, queue, queue_ids, own_ids, lse, 0.1,
                                  Accumulate::kOverwrite, Accumulate::kOverwrite);
           });

  const auto items = m.random<T>(kItems, kWidth);
  const auto indices = m.keep(std::vector<std::int32_t>(kAnchors * 20), kAnchors, 20);
  const auto best = m.random<float>(kAnchors, 20);
  list.add({"top_k " + type,
            text({{"N", kAnchors}, {"V", kItems}, {"C", kWidth}, {"K", 20}}),
            (kItems * kWidth + rows) * kBytes<T>,
            kAnchors * 160.0,
            tensor_cores ? 2.0 * kAnchors * kItems * kWidth : 0,
            "",
            {}},
           [=](CudaContext& c) { top_k<T>(c, indices, best, x, items, {}, {}); });
}

template <class T>
void add_rows(List& list, const std::string& type) {
  Memory& m = *list.memory;
  constexpr std::int64_t kTable = 4096;
  const auto table = m.random<float>(kTable, kWidth), dtable = m.random<float>(kTable, kWidth);
  const auto y = m.random<T>(kTokens, kWidth);
  const auto ids = m.ids(kTokens, 512);
  constexpr double n = kTokens * kWidth;
  const std::string shape = text({{"N", kTokens}, {"V", kTable}, {"C", kWidth}});
  list.add({"embedding forward " + type, shape, 512 * kWidth * 4.0, n * kBytes<T>, 0, "repeated rows come from L2", {}},
           [=](CudaContext& c) { embedding_forward<T>(c, y, table, ids, Accumulate::kOverwrite); });
  list.add({"embedding backward " + type, shape, n * kBytes<T>, kTable * 4.0 * kWidth, 0, "", {}},
           [=](CudaContext& c) { embedding_backward<T>(c, dtable, y, ids, Accumulate::kOverwrite); });

  std::vector<std::int32_t> offsets{0};
  for (const auto length : kLengths) offsets.push_back(offsets.back() + length);
  const auto cu = m.keep(offsets);
  const auto pooled = m.random<T>(12, kWidth), unit = m.random<T>(12, kWidth);
  const std::string segments = text({{"N", kTokens}, {"S", 12}, {"C", kWidth}});
  list.add({"segment_mean forward " + type, segments, n * kBytes<T>, 12 * kWidth * kBytes<T>, 0, "", {}},
           [=](CudaContext& c) { segment_mean_forward<T>(c, pooled, y, cu); });
  list.add({"segment_mean backward " + type, segments, 12 * kWidth * kBytes<T>, n * kBytes<T>, 0, "", {}},
           [=](CudaContext& c) { segment_mean_backward<T>(c, y, pooled, cu, Accumulate::kOverwrite); });
}

void add_optimizer(List& list) {
  Memory& m = *list.memory;
  const auto param = m.vector<float>(kParameters), grad = m.vector<float>(kParameters),
             mean = m.vector<float>(kParameters);
  const auto square = m.vector<float>(kParameters), ema = m.vector<float>(kParameters);
  const auto out = m.vector<float>(2);
  const auto spans = m.keep(std::vector<AdamWSpan>{{.offset = 0, .size = kParameters, .decay = true, .ema_offset = 0}});
  const View<double, 1> sum(reinterpret_cast<double*>(out.data), {1});
  const std::string shape = text({{"P", kParameters}});
  list.add({"sum_of_squares float", shape, kParameters * 4.0, 8, 0, "", {}},
           [=](CudaContext& c) { sum_of_squares<float>(c, sum, grad); });
  list.add({"adamw_step float", shape, kParameters * 20.0, kParameters * 16.0, 0, "", {}}, [=](CudaContext& c) {
    adamw_step<float>(c, param, mean, square, ema, {}, grad, spans,
                      {.lr = 1e-3, .max_norm = 1, .ema_momentum = 0.999, .square_sum = sum});
  });
}

/// LightGCN's propagation on a graph as dense as Beauty's.
void add_graph(List& list) {
  Memory& m = *list.memory;
  constexpr std::int32_t kNodes = 2048, kDegree = 9, kDim = 64;
  std::vector<std::int32_t> row_ptr{0}, col_idx;
  PhiloxStream stream({.seed = 9, .step = 0, .stream = 0x3e80});
  for (std::int32_t r = 0; r < kNodes; ++r) {
    for (std::int32_t e = 0; e < kDegree; ++e) col_idx.push_back(static_cast<std::int32_t>(stream.below(kNodes)));
    row_ptr.push_back(static_cast<std::int32_t>(col_idx.size()));
  }
  const CsrView graph{m.keep(row_ptr), m.keep(col_idx)};
  const auto x = m.random<float>(kNodes, kDim), y = m.random<float>(kNodes, kDim),
             total = m.random<float>(kNodes, kDim);
  const auto scale = m.vector<float>(kNodes);
  constexpr double n = 1.0 * kNodes * kDim * 4, edges = 1.0 * kNodes * kDegree;
  list.add({"spmm float",
            text({{"rows", kNodes}, {"nnz", kNodes * kDegree}, {"C", kDim}}),
            edges * 4 + n * 2 + kNodes * 8.0,
            n * 2,
            0,
            "a row of x is gathered once per edge: from L2",
            {}},
           [=](CudaContext& c) { spmm<float>(c, y, total, graph, x, scale, scale, Accumulate::kOverwrite); });

  const auto u = m.random<float>(kNodes, kDim), p = m.random<float>(kNodes, kDim), q = m.random<float>(kNodes, kDim);
  const auto loss = m.vector<float>(1), plus = m.vector<float>(kNodes), minus = m.vector<float>(kNodes);
  list.add({"BPR forward float", text({{"N", kNodes}, {"C", kDim}}), 3 * n, kNodes * 8.0, 0, "", {}},
           [=](CudaContext& c) { ranking_loss_forward<float>(c, loss, plus, minus, u, p, q, RankingLossKind::kBpr); });
}

}  // namespace

std::vector<KernelWorkload> kernel_workloads(CudaContext& ctx) {
  List list{ctx, std::make_shared<Memory>(ctx), {}};
  add_gemm<bfloat16>(list, "bf16");
  add_gemm<float>(list, "fp32");
  add_attention<bfloat16>(list, "bf16");
  add_attention<float>(list, "fp32");
  add_norms<bfloat16>(list, "bf16");
  add_norms<float>(list, "fp32");
  add_activation<bfloat16>(list, "bf16");
  add_activation<float>(list, "fp32");
  add_losses<bfloat16>(list, "bf16");
  add_losses<float>(list, "fp32");
  add_rows<bfloat16>(list, "bf16");
  add_rows<float>(list, "fp32");
  add_optimizer(list);
  add_graph(list);
  return std::move(list.workloads);
}

}  // namespace galrec::apps
