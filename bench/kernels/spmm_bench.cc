// One LightGCN propagation on a graph of Beauty's size (34,464 nodes, 263k entries). bytes/s counts a gathered row per entry
// and the output row; most of the gathers come from L2 and L3. The peer is the plain loop over entries.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "bench/kernels/random_graph.h"
#include "kernels/spmm/spmm.h"
#include "tests/support/random.h"

namespace {

using galrec::view_of;

// Users and items in one node set, every edge both ways, as LightGCN wants it.
struct Problem {
  std::int64_t nodes, cols;
  std::vector<std::int32_t> row_ptr, col_idx;
  std::vector<float> scale, x, y, total;

  explicit Problem(std::int64_t c) : cols(c) {
    const auto edges = galrec::bench::beauty_like_edges();
    nodes = edges.users + edges.items;
    row_ptr.assign(nodes + 1, 0);
    for (std::size_t e = 0; e < edges.user.size(); ++e) {
      ++row_ptr[edges.user[e] + 1];
      ++row_ptr[edges.users + edges.item[e] + 1];
    }
    for (std::int64_t n = 0; n < nodes; ++n) row_ptr[n + 1] += row_ptr[n];
    col_idx.resize(row_ptr[nodes]);
    auto next = row_ptr;
    for (std::size_t e = 0; e < edges.user.size(); ++e) {
      col_idx[next[edges.user[e]]++] = edges.users + edges.item[e];
      col_idx[next[edges.users + edges.item[e]]++] = edges.user[e];
    }
    for (std::int64_t n = 0; n < nodes; ++n) scale.push_back(1 / std::sqrt(static_cast<float>(std::max(1, row_ptr[n + 1] - row_ptr[n]))));
    x = galrec::test::random_normal<float>(nodes * c, 1);
    y.resize(nodes * c);
    total.resize(nodes * c);
  }
  void naive() {
    for (std::int64_t r = 0; r < nodes; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) y[r * cols + c] = 0;
      for (std::int32_t e = row_ptr[r]; e < row_ptr[r + 1]; ++e) {
        const float weight = scale[r] * scale[col_idx[e]];
        for (std::int64_t c = 0; c < cols; ++c) y[r * cols + c] += weight * x[col_idx[e] * cols + c];
      }
    }
  }
  void ours(galrec::CpuContext& ctx, bool with_total) {
    galrec::spmm<float>(ctx, view_of(y, nodes, cols), with_total ? view_of(total, nodes, cols) : galrec::View<float, 2>(),
                        {view_of(std::as_const(row_ptr)), view_of(std::as_const(col_idx))}, view_of(x, nodes, cols), view_of(scale), view_of(scale),
                        galrec::Accumulate::kOverwrite);
  }
  std::int64_t bytes() const { return (static_cast<std::int64_t>(col_idx.size()) + nodes) * cols * 4; }
};

void spmm(benchmark::State& state, std::int64_t cols, int threads, bool with_total) {
  Problem p(cols);
  galrec::CpuContext ctx(threads);
  p.naive();
  const auto expected = p.y;
  p.ours(ctx, with_total);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(p.y[i] - expected[i]) <= 1e-4f)) return state.SkipWithError("wrong result");
  }
  for (auto _ : state) {
    p.ours(ctx, with_total);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * p.bytes());
}

void naive(benchmark::State& state, std::int64_t cols) {
  Problem p(cols);
  for (auto _ : state) {
    p.naive();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * p.bytes());
}

const bool registered = [] {
  const auto add = [](const std::string& name, auto f) {
    benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (const std::int64_t cols : {64, 128}) {
    const std::string suffix = "/columns:" + std::to_string(cols);
    add("naive" + suffix, [=](benchmark::State& st) { naive(st, cols); });
    for (int threads : {1, 2}) {
      const std::string with = suffix + "/threads:" + std::to_string(threads);
      add("spmm" + with, [=](benchmark::State& st) { spmm(st, cols, threads, false); });
      add("spmm_total" + with, [=](benchmark::State& st) { spmm(st, cols, threads, true); });
    }
  }
  return true;
}();

}  // namespace
