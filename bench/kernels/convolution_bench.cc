// The filters of Caser over a batch of 512 histories of 5 items, d 64: 16 filters over 3 items, 4 with one weight per item.
// FLOP/s counters, and the share of the rate that one product of the same FLOPs reaches in the same process.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "kernels/gemm/gemm.h"

namespace {

using namespace galrec;

struct Shape {
  const char* name;
  std::int64_t images, channels, filters;
  ConvolutionOptions options;
};
const Shape kShapes[] = {
    {"caser_horizontal", 512, 64, 16, {.image = {5, 1}, .kernel = {3, 1}}},
    {"caser_vertical", 512, 1, 4, {.image = {5, 64}, .kernel = {5, 1}}},
    {"next_it_net", 128, 64, 128, {.image = {50, 1}, .kernel = {3, 1}, .padding = {4, 0}, .dilation = {2, 1}}}};

template <class T>
struct Problem {
  Shape s;
  std::vector<T> x, w, y, dx, dw;

  explicit Problem(const Shape& shape) : s(shape) {
    const Extent2 out = convolution_output(s.options);
    const auto fill = [](std::vector<T>& v, std::int64_t n, int prime) {
      v.resize(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < v.size(); ++i)
        v[i] = static_cast<T>(static_cast<int>(i % static_cast<std::size_t>(prime)) - prime / 2) / T(64);
    };
    fill(x, s.images * s.options.image.h * s.options.image.w * s.channels, 89);
    fill(w, s.filters * depth(), 97);
    fill(y, s.images * out.h * out.w * s.filters, 83);
    dx = x;
    dw = w;
  }
  std::int64_t depth() const { return s.options.kernel.h * s.options.kernel.w * s.channels; }
  View<T, 2> images(std::vector<T>& v) const { return view_of(v, static_cast<std::int64_t>(v.size()) / s.channels, s.channels); }
  View<T, 2> outputs() { return view_of(y, static_cast<std::int64_t>(y.size()) / s.filters, s.filters); }
  View<T, 2> weights(std::vector<T>& v) const { return view_of(v, s.filters, depth()); }
  double flops() const { return 2.0 * static_cast<double>(y.size()) * static_cast<double>(depth()); }

  void forward(CpuContext& ctx) { convolution_forward<T>(ctx, outputs(), images(x), weights(w), {}, s.options); }
  void backward_input(CpuContext& ctx) {
    convolution_backward_input<T>(ctx, images(dx), outputs(), weights(w), s.options, Accumulate::kOverwrite);
  }
  void backward_weight(CpuContext& ctx) {
    convolution_backward_weight<T>(ctx, weights(dw), outputs(), images(x), s.options, Accumulate::kOverwrite);
  }
};

template <class A, class B>
bool close(const A& a, const B& b) {
  double largest = 1e-3, error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    error = std::max(error, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return error <= 1e-4 * largest;
}

/// FLOP/s of one plain product of the forward pass's extents.
double product_rate(Problem<float>& p, CpuContext& ctx) {
  const std::int64_t rows = p.outputs().rows();
  std::vector<float> patches(static_cast<std::size_t>(rows * p.depth()), 0.25f);
  double best = HUGE_VAL;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    gemm<float>(ctx, p.outputs(), view_of(patches, rows, p.depth()), p.weights(p.w), {.b = Transpose::kYes});
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return p.flops() / best;
}

void add(const Shape& s, const std::string& pass, int threads, void (Problem<float>::*run)(CpuContext&),
         void (Problem<double>::*oracle)(CpuContext&)) {
  const auto bench = [=](benchmark::State& state) {
    CpuContext ctx(threads);
    Problem<float> p(s);
    Problem<double> exact(s);
    (p.*run)(ctx);
    (exact.*oracle)(ctx);
    if (!close(p.y, exact.y) || !close(p.dx, exact.dx) || !close(p.dw, exact.dw)) return state.SkipWithError("wrong result");
    const auto start = std::chrono::steady_clock::now();
    for (auto _ : state) (p.*run)(ctx);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    state.counters["FLOP/s"] = benchmark::Counter(p.flops(), benchmark::Counter::kIsIterationInvariantRate);
    state.counters["of_gemm"] = p.flops() * static_cast<double>(state.iterations()) / elapsed.count() / product_rate(p, ctx);
  };
  benchmark::RegisterBenchmark(("convolution_" + pass + "/" + s.name + "/threads:" + std::to_string(threads)).c_str(), bench)
      ->UseRealTime()
      ->MinTime(0.1);
}

const bool registered = [] {
  for (const auto& s : kShapes) {
    for (int threads : {1, 2}) {
      add(s, "forward", threads, &Problem<float>::forward, &Problem<double>::forward);
      add(s, "backward_input", threads, &Problem<float>::backward_input, &Problem<double>::backward_input);
      add(s, "backward_weight", threads, &Problem<float>::backward_weight, &Problem<double>::backward_weight);
    }
  }
  return true;
}();

}  // namespace
