// InfoNCE as a GAL step uses it (64 anchors, queue 512, mini's 256 columns), and with a MoCo-sized queue.
// FLOP/s counts the products: 2 NQC forward, 4 NQC backward.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/info_nce/info_nce.h"
#include "tests/support/random.h"

namespace {

struct Shape {
  const char* name;
  std::int64_t n, c, q;
};
const Shape kShapes[] = {{"nano", 128, 128, 512}, {"mini", 64, 256, 512}, {"base", 64, 768, 4096}, {"moco", 256, 256, 65536}};

struct Problem {
  Shape s;
  std::vector<float> anchor, positive, queue, danchor, dpositive, loss, losses, lse, score, hardest, dloss = {1};
  std::vector<std::int32_t> queue_ids, own_ids;

  static std::vector<float> unit_rows(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
    return galrec::test::random_normal<float>(rows * cols, seed, 1 / std::sqrt(static_cast<double>(cols)));
  }
  explicit Problem(const Shape& shape)
      : s(shape), anchor(unit_rows(s.n, s.c, 1)), positive(unit_rows(s.n, s.c, 2)), queue(unit_rows(s.q, s.c, 3)), danchor(s.n * s.c),
        dpositive(s.n * s.c), loss(1), losses(s.n), lse(s.n), score(s.n), hardest(s.n), queue_ids(galrec::test::random_ids(s.q, 20000, 4)),
        own_ids(galrec::test::random_ids(s.n, 20000, 5)) {}

  void forward(galrec::CpuContext& ctx) {
    using galrec::view_of;
    galrec::info_nce_forward<float>(ctx, view_of(loss), view_of(losses), view_of(lse), view_of(score), view_of(hardest),
                                    view_of(anchor, s.n, s.c), view_of(positive, s.n, s.c), view_of(queue, s.q, s.c), view_of(queue_ids),
                                    view_of(own_ids), 0.07);
  }
  void backward(galrec::CpuContext& ctx) {
    using galrec::view_of;
    galrec::info_nce_backward<float>(ctx, view_of(danchor, s.n, s.c), view_of(dpositive, s.n, s.c), view_of(dloss), view_of(anchor, s.n, s.c),
                                     view_of(positive, s.n, s.c), view_of(queue, s.q, s.c), view_of(queue_ids), view_of(own_ids), view_of(lse),
                                     0.07, galrec::Accumulate::kOverwrite, galrec::Accumulate::kOverwrite);
  }
};

// Anchors that know nothing: the loss is near log(1 + Q) plus half the variance of the scores.
bool plausible(Problem& p, galrec::CpuContext& ctx) {
  p.forward(ctx);
  p.backward(ctx);
  const double variance = 1 / (0.07 * 0.07 * static_cast<double>(p.s.c));
  return std::abs(p.loss[0] - std::log(1.0 + static_cast<double>(p.s.q)) - variance / 2) < 0.5 && std::isfinite(p.danchor[0]);
}

void run(benchmark::State& state, Shape s, int threads, bool backward) {
  Problem p(s);
  galrec::CpuContext ctx(threads);
  if (!plausible(p, ctx)) return state.SkipWithError("wrong result");
  for (auto _ : state) {
    if (backward) p.backward(ctx);
    else p.forward(ctx);
    benchmark::ClobberMemory();
  }
  const double flops = (backward ? 4.0 : 2.0) * static_cast<double>(s.n * s.c * s.q);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  for (const auto& s : kShapes) {
    for (int threads : {1, 2}) {
      for (bool backward : {false, true}) {
        const std::string name = std::string(backward ? "backward/" : "forward/") + s.name + "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& st) { run(st, s, threads, backward); })
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  return true;
}();

}  // namespace
