// The head of the recommendation loss: mini (d 256) and flan-t5-small (d 512) against Beauty's 12,101 items or all 66,000
// columns. The floor is the products alone (2 NCV forward, 6 NCV backward) at the machine's GEMM rate: see bench_gemm.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "tests/support/random.h"

namespace {

struct Shape {
  const char* name;
  std::int64_t n, c, v;
};
const Shape kShapes[] = {{"nano_items", 128, 128, 12101}, {"mini_items", 64, 256, 12101},   {"mini_all_8", 8, 256, 66000},
                         {"mini_all_64", 64, 256, 66000}, {"small_all", 1024, 512, 66000}};

struct Problem {
  Shape s;
  std::vector<float> x, w, dx, dw, loss, losses, lse, dloss{1.0f};
  std::vector<std::int32_t> targets;

  explicit Problem(const Shape& shape)
      : s(shape), x(galrec::test::random_normal<float>(s.n * s.c, 1)), w(galrec::test::random_normal<float>(s.v * s.c, 2, 0.05)),
        dx(s.n * s.c), dw(s.v * s.c), loss(1), losses(s.n), lse(s.n),
        targets(galrec::test::random_ids(s.n, static_cast<std::int32_t>(s.v), 3)) {}

  void forward(galrec::CpuContext& ctx) {
    galrec::linear_cross_entropy_forward<float>(ctx, galrec::view_of(loss), galrec::view_of(losses), galrec::view_of(lse),
                                                galrec::view_of(x, s.n, s.c), galrec::view_of(w, s.v, s.c), {}, galrec::view_of(targets), 1);
  }
  void backward(galrec::CpuContext& ctx) {
    galrec::linear_cross_entropy_backward<float>(ctx, galrec::view_of(dx, s.n, s.c), galrec::view_of(dw, s.v, s.c), {}, galrec::view_of(dloss),
                                                 galrec::view_of(x, s.n, s.c), galrec::view_of(w, s.v, s.c), {}, galrec::view_of(targets),
                                                 galrec::view_of(lse), 1, galrec::Accumulate::kOverwrite, galrec::Accumulate::kOverwrite);
  }
};

// Random logits of small variance: the loss is close to log V + their variance / 2, and the gradients of x sum to little.
bool plausible(Problem& p, galrec::CpuContext& ctx) {
  p.forward(ctx);
  p.backward(ctx);
  const double variance = 0.05 * 0.05 * static_cast<double>(p.s.c);
  return std::abs(p.loss[0] - std::log(static_cast<double>(p.s.v)) - variance / 2) < 1 && std::isfinite(p.dw[0]);
}

void run(benchmark::State& state, Shape s, int threads, galrec::GemmPrecision precision, bool backward) {
  Problem p(s);
  galrec::CpuContext ctx(threads, precision);
  if (!plausible(p, ctx)) return state.SkipWithError("wrong result");
  for (auto _ : state) {
    if (backward) p.backward(ctx);
    else p.forward(ctx);
    benchmark::ClobberMemory();
  }
  const double flops = (backward ? 6.0 : 2.0) * static_cast<double>(s.n * s.c * s.v);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["scratch_MB"] = static_cast<double>(ctx.scratch().peak_bytes()) / 1e6;
}

const bool registered = [] {
  for (const auto& s : kShapes) {
    for (const auto precision : {galrec::GemmPrecision::kFull, galrec::GemmPrecision::kBf16}) {
      for (int threads : {1, 2}) {
        for (bool backward : {false, true}) {
          const std::string name = std::string(backward ? "backward_" : "forward_") +
                                   (precision == galrec::GemmPrecision::kFull ? "f32/" : "bf16/") + s.name + "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& st) { run(st, s, threads, precision, backward); })
              ->UseRealTime()
              ->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
  return true;
}();

}  // namespace
