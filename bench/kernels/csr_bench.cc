// Building a graph of Beauty's size and sampling its neighbours; items/s are edges built, or neighbours drawn.
#include <benchmark/benchmark.h>

#include <numeric>
#include <string>
#include <vector>

#include "bench/kernels/random_graph.h"
#include "kernels/csr/csr.h"
#include "tests/support/random.h"

namespace {

using galrec::view_of;

galrec::Csr users_of_items(galrec::CpuContext& ctx, const galrec::bench::BipartiteEdges& e) {
  return galrec::csr_build(ctx, e.items, e.users, view_of(e.item), view_of(e.user), galrec::DuplicateEdges::kMerge);
}

void build(benchmark::State& state) {
  const auto edges = galrec::bench::beauty_like_edges();
  galrec::CpuContext ctx(1);
  for (auto _ : state) benchmark::DoNotOptimize(users_of_items(ctx, edges));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(edges.user.size()));
}

void transpose(benchmark::State& state) {
  const auto edges = galrec::bench::beauty_like_edges();
  galrec::CpuContext ctx(1);
  const auto graph = users_of_items(ctx, edges);
  for (auto _ : state) benchmark::DoNotOptimize(galrec::csr_transpose(ctx, graph));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(graph.col_idx.size()));
}

void sample(benchmark::State& state, std::int64_t draws, std::int32_t fanout, int threads) {
  const auto edges = galrec::bench::beauty_like_edges();
  galrec::CpuContext ctx(threads);
  const auto graph = users_of_items(ctx, edges);
  const auto nodes = galrec::test::random_ids(draws, graph.rows, 1), exclude = galrec::test::random_ids(draws, graph.cols, 2);
  std::vector<std::int64_t> ids(draws);
  std::iota(ids.begin(), ids.end(), 0);
  galrec::SampledNeighbors out;
  galrec::SampleOptions options{.fanout = fanout, .key = {.seed = 3}};
  std::int64_t drawn = 0;
  for (auto _ : state) {
    ++options.key.step;
    galrec::csr_sample(ctx, out, graph, view_of(nodes), view_of(ids), view_of(exclude), options);
    drawn += out.ptr.back();
  }
  state.SetItemsProcessed(drawn);
}

const bool registered = [] {
  benchmark::RegisterBenchmark("build", build)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("transpose", transpose)->Unit(benchmark::kMillisecond);
  for (const std::int64_t draws : {640, 8192, 100000}) {
    for (const std::int32_t fanout : {8, 20}) {
      for (int threads : {1, 2}) {
        const std::string name = "sample/draws:" + std::to_string(draws) + "/fanout:" + std::to_string(fanout) + "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& st) { sample(st, draws, fanout, threads); })
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  return true;
}();

}  // namespace
