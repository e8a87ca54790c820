// Workloads: the optimiser, and the recommenders on the graph.

#include "apps/galrec/meter/workload_list.h"
#include "kernels/adamw/adamw.h"
#include "kernels/csr/csr.h"
#include "kernels/ranking_loss/ranking_loss.h"
#include "kernels/spmm/spmm.h"

namespace galrec::apps {

namespace {

void add_optimizer(CudaContext& ctx, WorkloadList& list) {
  constexpr std::int64_t kParameters = 1 << 20;
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const auto param = m->vector<float>(kParameters), grad = m->vector<float>(kParameters),
             mean = m->vector<float>(kParameters), square = m->vector<float>(kParameters),
             ema = m->vector<float>(kParameters);
  const auto sum = m->keep(std::vector<double>{1.0});
  const auto spans =
      m->keep(std::vector<AdamWSpan>{{.offset = 0, .size = kParameters, .decay = true, .ema_offset = 0}});
  const std::string shape = extents({{"P", kParameters}});
  list.add({.name = "sum_of_squares fp32", .shape = shape, .load_bytes = kParameters * 4.0, .store_bytes = 8}, m,
           [=](CudaContext& c) { sum_of_squares<float>(c, sum, grad); });
  list.add(
      {.name = "adamw_step fp32", .shape = shape, .load_bytes = kParameters * 20.0, .store_bytes = kParameters * 16.0},
      m, [=](CudaContext& c) {
        adamw_step<float>(c, param, mean, square, ema, {}, grad, spans,
                          {.lr = 1e-3, .max_norm = 1, .ema_momentum = 0.999, .square_sum = sum});
      });
}

/// A graph with the mean degree of Beauty's training part.
struct Graph {
  static constexpr std::int32_t kNodes = 2048, kDegree = 9;
  std::vector<std::int32_t> row_ptr{0}, col_idx;

  Graph() {
    PhiloxStream stream({.seed = 9, .step = 0, .stream = 0x3e80});
    for (std::int32_t r = 0; r < kNodes; ++r) {
      const auto degree = 5 + static_cast<std::int32_t>(stream.below(2 * (kDegree - 5) + 1));
      for (std::int32_t e = 0; e < degree; ++e) col_idx.push_back(static_cast<std::int32_t>(stream.below(kNodes)));
      row_ptr.push_back(static_cast<std::int32_t>(col_idx.size()));
    }
  }
};

void add_graph(CudaContext& ctx, WorkloadList& list) {
  constexpr std::int64_t kDim = 64, kNodes = Graph::kNodes;
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  const Graph host;
  const CsrView graph{m->keep(host.row_ptr), m->keep(host.col_idx)};
  const auto x = m->random<float>(kNodes, kDim), y = m->random<float>(kNodes, kDim),
             total = m->random<float>(kNodes, kDim);
  const auto scale = m->vector<float>(kNodes);
  constexpr double n = kNodes * kDim * 4.0;
  const auto edges = static_cast<std::int64_t>(host.col_idx.size());
  list.add({.name = "spmm fp32",
            .shape = extents({{"rows", kNodes}, {"nnz", edges}, {"C", kDim}}),
            .load_bytes = static_cast<double>(edges) * 4 + 2 * n + kNodes * 8.0,
            .store_bytes = 2 * n,
            .remark = "a gather: x is read once per edge, from L2; 9 neighbours of a row lie in two or three sectors "
                      "that it shares"},
           m, [=](CudaContext& c) { spmm<float>(c, y, total, graph, x, scale, scale, Accumulate::kOverwrite); });

  const auto p = m->random<float>(kNodes, kDim), q = m->random<float>(kNodes, kDim),
             du = m->random<float>(kNodes, kDim), dp = m->random<float>(kNodes, kDim),
             dq = m->random<float>(kNodes, kDim);
  const auto loss = m->vector<float>(1), plus = m->vector<float>(kNodes), minus = m->vector<float>(kNodes);
  const std::string shape = extents({{"N", kNodes}, {"C", kDim}});
  list.add({.name = "BPR forward fp32", .shape = shape, .load_bytes = 3 * n, .store_bytes = kNodes * 8.0}, m,
           [=](CudaContext& c) { ranking_loss_forward<float>(c, loss, plus, minus, x, p, q, RankingLossKind::kBpr); });
  list.add({.name = "BPR backward fp32", .shape = shape, .load_bytes = 3 * n + kNodes * 8.0, .store_bytes = 3 * n}, m,
           [=](CudaContext& c) {
             ranking_loss_backward<float>(c, du, dp, dq, loss, x, p, q, plus, minus, RankingLossKind::kBpr,
                                          Accumulate::kOverwrite);
           });
  list.add({.name = "half_squared_sum fp32", .shape = shape, .load_bytes = n, .store_bytes = 4}, m,
           [=](CudaContext& c) { half_squared_sum<float>(c, loss, x); });
}

void add_sampling(CudaContext& ctx, WorkloadList& list) {
  const auto m = std::make_shared<WorkloadMemory>(ctx);
  constexpr std::int64_t kNodes = Graph::kNodes, kDraws = 1024;
  constexpr std::int32_t kFanout = 8;
  const Graph host;
  const auto graph = std::make_shared<DeviceCsr>(
      csr_upload(ctx.memory(),
                 Csr{.rows = Graph::kNodes, .cols = Graph::kNodes, .row_ptr = host.row_ptr, .col_idx = host.col_idx}));
  const auto nodes = m->ids(kDraws, kNodes), exclude = m->ids(kDraws, kNodes), ptr = m->ids(kDraws + 1, 1),
             items = m->ids(kDraws * kFanout, 1);
  std::vector<std::int64_t> numbers(kDraws);
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  const auto draw_ids = m->keep(numbers);
  list.add({.name = "csr_sample",
            .shape = extents({{"N", kDraws}, {"fanout", kFanout}}),
            .load_bytes = kDraws * (16.0 + 8.0 + 4.0 * Graph::kDegree),
            .store_bytes = kDraws * (4.0 + 4.0 * kFanout),
            .remark = "a thread looks for the excluded neighbour among a node's few; offsets are read to count and to draw"},
           m, [=](CudaContext& c) {
             csr_sample(c, ptr, items, *graph, nodes, draw_ids, exclude,
                        {.fanout = kFanout, .key = {.seed = 1, .step = 1, .stream = 5}});
           });
}

}  // namespace

void add_rest(CudaContext& ctx, WorkloadList& list) {
  add_optimizer(ctx, list);
  add_graph(ctx, list);
  add_sampling(ctx, list);
}

}  // namespace galrec::apps
