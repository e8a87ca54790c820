// Full ranking of Beauty (12,101 items) and a larger catalogue for a batch of 1,024 users, against the product alone.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "kernels/topk/topk.h"
#include "tests/support/random.h"

namespace {

using galrec::view_of;

struct Shape {
  const char* name;
  std::int64_t n, c, v, k;
};
const Shape kShapes[] = {{"beauty_64", 1024, 64, 12101, 20}, {"beauty_256", 1024, 256, 12101, 20}, {"large", 1024, 128, 100000, 100}};

struct Problem {
  Shape s;
  std::vector<float> queries, items, scores, own;
  std::vector<std::int32_t> indices, row_ptr, excluded, targets, ranks, ties;

  explicit Problem(const Shape& shape)
      : s(shape), queries(galrec::test::random_normal<float>(s.n * s.c, 1)), items(galrec::test::random_normal<float>(s.v * s.c, 2)),
        scores(s.n * s.k), own(s.n), indices(s.n * s.k), excluded(galrec::test::random_ids(s.n * 9, static_cast<std::int32_t>(s.v), 3)),
        targets(galrec::test::random_ids(s.n, static_cast<std::int32_t>(s.v), 4)), ranks(s.n), ties(s.n) {
    for (std::int64_t i = 0; i <= s.n; ++i) row_ptr.push_back(static_cast<std::int32_t>(9 * i));  // the seen items of a user
  }
  galrec::ExcludedItems lists() const { return {view_of(row_ptr), view_of(excluded)}; }
  void best(galrec::CpuContext& ctx) {
    galrec::top_k<float>(ctx, view_of(indices, s.n, s.k), view_of(scores, s.n, s.k), view_of(queries, s.n, s.c), view_of(items, s.v, s.c), {}, lists());
  }
  void rank(galrec::CpuContext& ctx) {
    galrec::target_rank<float>(ctx, view_of(ranks), view_of(ties), view_of(own), view_of(queries, s.n, s.c), view_of(items, s.v, s.c), {},
                               view_of(targets), lists());
  }
};

template <class Body>
void time(benchmark::State& state, const Shape& s, Body&& body) {
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(s.n * s.c * s.v), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["queries/s"] = benchmark::Counter(static_cast<double>(s.n), benchmark::Counter::kIsIterationInvariantRate);
}

void top_k(benchmark::State& state, Shape s, int threads) {
  Problem p(s);
  galrec::CpuContext ctx(threads);
  p.best(ctx);
  for (std::int64_t q = 0; q < s.n; ++q) {
    if (!std::is_sorted(&p.scores[q * s.k], &p.scores[(q + 1) * s.k], std::greater<>())) return state.SkipWithError("not sorted");
  }
  time(state, s, [&] { p.best(ctx); });
}

void target_rank(benchmark::State& state, Shape s, int threads) {
  Problem p(s);
  galrec::CpuContext ctx(threads);
  p.best(ctx);
  for (std::int64_t q = 0; q < s.n; ++q) p.targets[q] = p.indices[q * s.k + q % s.k];
  p.rank(ctx);
  for (std::int64_t q = 0; q < s.n; ++q) {
    if (p.ranks[q] != q % s.k + 1) return state.SkipWithError("ranks and best items disagree");
  }
  time(state, s, [&] { p.rank(ctx); });
}

// The floor: the scores, block by block, without a selection.
void scores_only(benchmark::State& state, Shape s, int threads) {
  Problem p(s);
  galrec::CpuContext ctx(threads);
  std::vector<float> block(64 * s.v);
  time(state, s, [&] {
    for (std::int64_t first = 0; first < s.n; first += 64) {
      galrec::gemm<float>(ctx, view_of(block, 64, s.v), view_of(p.queries, s.n, s.c).slice_rows(first, 64), view_of(p.items, s.v, s.c),
                          {.b = galrec::Transpose::kYes});
    }
  });
}

const bool registered = [] {
  for (const auto& s : kShapes) {
    for (int threads : {1, 2}) {
      const std::string suffix = std::string(s.name) + "/threads:" + std::to_string(threads);
      const auto add = [&](const std::string& name, auto f) {
        benchmark::RegisterBenchmark((name + suffix).c_str(), [=](benchmark::State& st) { f(st, s, threads); })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      };
      add("scores_only/", scores_only);
      add("top_k/", top_k);
      add("target_rank/", target_rank);
    }
  }
  return true;
}();

}  // namespace
