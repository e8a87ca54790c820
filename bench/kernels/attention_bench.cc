// Attention of GAL batches: short identity prompts, hop prompts, long histories; one-token decoder queries. The FLOP/s
// counter is of the 2 (forward) and 5 (backward) matrix products; softmax, bias and dropout count as nothing.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"

namespace {

using namespace galrec;

struct Shape {
  const char* name;
  std::int64_t heads, dim;
  std::vector<std::int64_t> queries, keys;
  bool bias;
};

std::vector<std::int64_t> ragged(std::int64_t count, std::int64_t low, std::int64_t high) {
  PhiloxStream stream({.seed = 1, .step = 0, .stream = 2});
  std::vector<std::int64_t> out(count);
  for (auto& n : out) n = low + static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(high - low + 1)));
  return out;
}

std::vector<float> numbers(std::int64_t n, std::uint64_t seed, double scale) {
  PhiloxStream stream({.seed = seed, .step = 0, .stream = 1});
  std::vector<float> out(static_cast<std::size_t>(n));
  for (auto& x : out) x = static_cast<float>(scale * (stream.uniform() - 0.5));
  return out;
}

struct Setup {
  std::vector<std::int32_t> cu_q{0}, cu_k{0}, index;
  std::int64_t heads, dim, width;
  std::vector<float> qkv, o, lse, dout, dqkv, table, dtable;
  double products = 0;
  AttentionOptions options;

  Setup(const Shape& s, double dropout) : heads(s.heads), dim(s.dim), width(s.heads * s.dim) {
    for (std::size_t b = 0; b < s.queries.size(); ++b) {
      cu_q.push_back(cu_q.back() + static_cast<std::int32_t>(s.queries[b]));
      cu_k.push_back(cu_k.back() + static_cast<std::int32_t>(s.keys[b]));
      products += static_cast<double>(s.queries[b]) * static_cast<double>(s.keys[b]) * static_cast<double>(width);
    }
    const std::int64_t rows = std::max(cu_q.back(), cu_k.back());
    qkv = numbers(rows * 3 * width, 3, 1.0);
    dout = numbers(rows * width, 4, 1.0);
    o.resize(rows * width);
    lse.resize(rows * heads);
    dqkv.resize(rows * 3 * width);
    if (s.bias) {
      table = numbers(32 * heads, 5, 1.0);
      dtable.resize(table.size());
      for (int d = -128; d <= 128; ++d) index.push_back((d + 128) / 8 % 32);
    }
    options = {.heads = static_cast<int>(heads), .scale = 1.0, .dropout = {.rate = dropout, .key = {.seed = 1, .step = 2, .stream = 3}}};
  }
  View<float, 2> part(std::vector<float>& x, int which, std::int64_t rows) { return {x.data() + which * width, {rows, width}, {3 * width, 1}}; }
  View<float, 2> rows_of(std::vector<float>& x) { return {x.data(), {cu_q.back(), width}}; }
  View<float, 2> lse_view() { return {lse.data(), {cu_q.back(), heads}}; }
  View<float, 2> table_view(std::vector<float>& x) { return x.empty() ? View<float, 2>() : View<float, 2>(x.data(), {32, heads}); }
  RelativeBuckets buckets() { return {view_of(index)}; }
  void forward(CpuContext& ctx) {
    attention_forward<float>(ctx, rows_of(o), lse_view(), part(qkv, 0, cu_q.back()), part(qkv, 1, cu_k.back()), part(qkv, 2, cu_k.back()), view_of(cu_q),
                             view_of(cu_k), table_view(table), buckets(), options);
  }
  void backward(CpuContext& ctx) {
    attention_backward<float>(ctx, part(dqkv, 0, cu_q.back()), part(dqkv, 1, cu_k.back()), part(dqkv, 2, cu_k.back()), table_view(dtable), rows_of(dout),
                              part(qkv, 0, cu_q.back()), part(qkv, 1, cu_k.back()), part(qkv, 2, cu_k.back()), rows_of(o), lse_view(), view_of(cu_q), view_of(cu_k),
                              table_view(table), buckets(), options, Accumulate::kOverwrite, Accumulate::kOverwrite);
  }
};

const bool registered = [] {
  const auto equal = [](std::int64_t count, std::int64_t n) { return std::vector<std::int64_t>(count, n); };
  const auto hops = ragged(64, 40, 210);
  const std::vector<Shape> shapes = {
      {"short_3_d32", 4, 32, equal(2048, 3), equal(2048, 3), true}, {"short_3_d64", 4, 64, equal(2048, 3), equal(2048, 3), true},
      {"hops_40_210_d32", 4, 32, hops, hops, true},                 {"hops_40_210_d64", 4, 64, hops, hops, true},
      {"len_128_d64", 4, 64, equal(32, 128), equal(32, 128), true}, {"len_550_d64", 4, 64, equal(4, 550), equal(4, 550), true},
      {"short_3_d64_cached", 4, 64, equal(64, 3), equal(64, 3), true},
      {"decoder_cross_d64", 4, 64, equal(64, 1), hops, false},
  };
  for (const auto& s : shapes) {
    for (double dropout : {0.0, 0.1}) {
      for (int threads : {1, 2}) {
        const std::string suffix = std::string(s.name) + (dropout > 0 ? "/dropout" : "/plain") + "/threads:" + std::to_string(threads);
        const auto add = [&](const std::string& name, bool backward) {
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            CpuContext ctx(threads);
            Setup setup(s, dropout);
            setup.forward(ctx);
            setup.backward(ctx);
            for (auto _ : state) backward ? setup.backward(ctx) : setup.forward(ctx);
            state.counters["FLOP/s"] = benchmark::Counter(setup.products * (backward ? 10.0 : 4.0), benchmark::Counter::kIsIterationInvariantRate);
          })->UseRealTime();
        };
        add("forward/" + suffix, false);
        add("backward/" + suffix, true);
      }
    }
  }
  return true;
}();

}  // namespace
