// One optimiser step over a flat arena, with and without the momentum encoder, and the gradient norm. bytes/s counts what
// must move: p, m, v read and written and g read (28 bytes an element), 8 more for the average; 4 for the norm.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/adamw/adamw.h"
#include "tests/support/random.h"

namespace {

constexpr std::int64_t kNano = 3'500'000, kMini = 24'000'000;  // parameters, about

void step(benchmark::State& state, std::int64_t n, int threads, bool average) {
  std::vector<float> p(n, 1.0f), m(n), v(n), ema(average ? n : 0, 1.0f), g = galrec::test::random_normal<float>(n, 1);
  // Spans of a transformer's sizes: a matrix, a bias that does not decay, and so on.
  std::vector<galrec::AdamWSpan> spans;
  for (std::int64_t at = 0, i = 0; at < n; ++i) {
    const std::int64_t size = std::min<std::int64_t>(n - at, i % 2 == 0 ? 262144 : 256);
    spans.push_back({.offset = at, .size = size, .decay = i % 2 == 0, .ema_offset = average ? at : -1});
    at += size;
  }
  galrec::CpuContext ctx(threads);
  galrec::AdamWOptions o{.lr = 1e-3, .weight_decay = 0.01, .ema_momentum = 0.99};
  const auto run = [&] {
    galrec::adamw_step<float>(ctx, galrec::view_of(p), galrec::view_of(m), galrec::view_of(v), galrec::view_of(ema), {}, galrec::view_of(g),
                              galrec::view_of(spans), o);
  };
  run();
  if (std::abs(std::abs(p[0] - 0.99999f) - 1e-3f) > 1e-6f) return state.SkipWithError("the first step is not lr * sign(g)");
  for (auto _ : state) {
    ++o.step;
    run();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * n * (average ? 36 : 28));
}

void norm(benchmark::State& state, std::int64_t n, int threads) {
  std::vector<float> g(n, 0.5f);
  galrec::CpuContext ctx(threads);
  double sum = 0;
  const auto run = [&] { galrec::sum_of_squares<float>(ctx, galrec::View<double, 1>(&sum, {1}), galrec::view_of(g)); };
  run();
  if (sum != 0.25 * static_cast<double>(n)) return state.SkipWithError("wrong sum");
  for (auto _ : state) {
    run();
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * n * 4);
}

const bool registered = [] {
  for (int threads : {1, 2}) {
    const std::string suffix = "/threads:" + std::to_string(threads);
    const auto add = [&](const std::string& name, auto f) {
      benchmark::RegisterBenchmark((name + suffix).c_str(), f)->UseRealTime()->Unit(benchmark::kMillisecond);
    };
    for (const auto& [name, n] : {std::pair("nano", kNano), std::pair("mini", kMini)}) {
      add(std::string("step/") + name, [=, n = n](benchmark::State& st) { step(st, n, threads, false); });
      add(std::string("step_average/") + name, [=, n = n](benchmark::State& st) { step(st, n, threads, true); });
      add(std::string("sum_of_squares/") + name, [=, n = n](benchmark::State& st) { norm(st, n, threads); });
    }
  }
  return true;
}();

}  // namespace
