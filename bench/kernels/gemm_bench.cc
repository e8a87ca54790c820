// Products of a GAL step (nano d 128, mini d 256), ours on tiles beside one dnnl call on all threads. FLOP/s counters.
#include <benchmark/benchmark.h>
#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/gemm/gemm.h"

namespace {

using galrec::Transpose;

struct Shape {
  const char* name;
  Transpose a, b;
  std::int64_t m, n, k;
};

constexpr auto N = Transpose::kNo;
constexpr auto Y = Transpose::kYes;
const Shape kShapes[] = {
    {"nano_proj", N, Y, 4096, 128, 128},       {"nano_ffn", N, Y, 4096, 256, 128},      {"nano_dw", Y, N, 128, 128, 4096},
    {"mini_proj", N, Y, 8192, 256, 256},       {"mini_qkv", N, Y, 8192, 768, 256},      {"mini_ffn_in", N, Y, 8192, 1024, 256},
    {"mini_ffn_out", N, Y, 8192, 256, 512},    {"mini_dx", N, N, 8192, 256, 768},       {"mini_dw", Y, N, 512, 256, 8192},
    {"mini_dw_square", Y, N, 256, 256, 16384}, {"logits", N, Y, 512, 66000, 256},       {"dlogits_x", N, N, 512, 256, 66000},
    {"dlogits_w", Y, N, 66000, 256, 512},      {"tiny", N, Y, 64, 64, 64},              {"square", N, N, 1024, 1024, 1024},
};

// Inputs rotate through copies that together exceed the last-level cache share of a core.
struct Inputs {
  std::vector<std::vector<float>> a, b;
  std::vector<float> c;
  explicit Inputs(const Shape& s) {
    const std::int64_t bytes = (s.m * s.k + s.n * s.k) * 4;
    const int copies = static_cast<int>(std::clamp<std::int64_t>((std::int64_t{24} << 20) / bytes, 1, 8));
    for (int i = 0; i < copies; ++i) {
      a.emplace_back(s.m * s.k);
      b.emplace_back(s.n * s.k);
      for (std::size_t e = 0; e < a.back().size(); ++e) a.back()[e] = 0.01f * static_cast<float>(e % 89) - 0.4f;
      for (std::size_t e = 0; e < b.back().size(); ++e) b.back()[e] = 0.01f * static_cast<float>(e % 97) - 0.4f;
    }
    c.resize(s.m * s.n);
  }
};

// The last element of c against its definition; a wrong product must not be timed.
bool plausible(const Shape& s, const Inputs& in) {
  double sum = 0, size = 0;
  for (std::int64_t k = 0; k < s.k; ++k) {
    const double x = in.a[0][s.a == Y ? k * s.m + s.m - 1 : (s.m - 1) * s.k + k], y = in.b[0][s.b == Y ? (s.n - 1) * s.k + k : k * s.n + s.n - 1];
    sum += x * y;
    size += std::abs(x * y);
  }
  return std::abs(sum - in.c.back()) <= 0.01 * size;  // bf16 rounds to 2^-9
}

void ours(benchmark::State& state, Shape s, int threads, galrec::GemmPrecision precision) {
  Inputs in(s);
  galrec::CpuContext ctx(threads, precision);
  std::size_t turn = 0;
  const auto product = [&] {
    const auto& a = in.a[turn % in.a.size()];
    const auto& b = in.b[turn++ % in.b.size()];
    const galrec::View<const float, 2> va(a.data(), s.a == Y ? std::array{s.k, s.m} : std::array{s.m, s.k});
    const galrec::View<const float, 2> vb(b.data(), s.b == Y ? std::array{s.n, s.k} : std::array{s.k, s.n});
    galrec::gemm<float>(ctx, galrec::view_of(in.c, s.m, s.n), va, vb, {.a = s.a, .b = s.b});
    benchmark::DoNotOptimize(in.c.data());
  };
  product();
  if (!plausible(s, in)) return state.SkipWithError("the product is wrong");
  for (auto _ : state) product();
  const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

// The peer: one library call, which splits the work by the thread count.
void onednn(benchmark::State& state, Shape s, int threads) {
  Inputs in(s);
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  std::size_t turn = 0;
  const auto product = [&] {
    const auto& a = in.a[turn % in.a.size()];
    const auto& b = in.b[turn++ % in.b.size()];
    dnnl_sgemm(s.a == Y ? 'T' : 'N', s.b == Y ? 'T' : 'N', s.m, s.n, s.k, 1.0f, a.data(), s.a == Y ? s.m : s.k, b.data(),
               s.b == Y ? s.k : s.n, 0.0f, in.c.data(), s.n);
    benchmark::DoNotOptimize(in.c.data());
  };
  product();
  if (!plausible(s, in)) return state.SkipWithError("the product is wrong");
  for (auto _ : state) product();
  omp_set_num_threads(before);
  const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  for (const auto& s : kShapes) {
    for (int threads : {1, 2}) {
      const std::string suffix = std::string(s.name) + "/threads:" + std::to_string(threads);
      const auto add = [&](const std::string& name, auto f) { benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime(); };
      add("onednn_f32/" + suffix, [=](benchmark::State& st) { onednn(st, s, threads); });
      add("gemm_f32/" + suffix, [=](benchmark::State& st) { ours(st, s, threads, galrec::GemmPrecision::kFull); });
      add("gemm_bf16/" + suffix, [=](benchmark::State& st) { ours(st, s, threads, galrec::GemmPrecision::kBf16); });
    }
  }
  return true;
}();

}  // namespace
