#pragma once
// What the benchmarks of memory-bound kernels share: operands that rotate past the cache, a check of float against
// double before anything is timed, and the share of what a plain parallel copy of as many bytes reaches in the same
// process.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/parallel.h"
#include "kernels/common/view.h"

namespace galrec::bench {

struct Shape {
  std::int64_t rows, cols;
};

/// Several matrices, `copies` of each; matrices of one row (weights, statistics) hold positive values.
template <class T>
class Operands {
 public:
  Operands(const std::vector<Shape>& shapes, int copies) : shapes_(shapes) {
    std::uint32_t state = 1;
    for (int copy = 0; copy < copies; ++copy) {
      sets_.emplace_back();
      for (const auto& s : shapes) {
        Buffer<T> data(s.rows * s.cols);
        for (auto& x : data) {
          state = state * 1664525u + 1013904223u;
          x = static_cast<T>(static_cast<std::int32_t>(state >> 16) - 32768) / T(16384);
          if (s.rows == 1) x = T(0.25) + std::abs(x);
        }
        sets_.back().push_back(std::move(data));
      }
    }
  }
  void next() { turn_ = (turn_ + 1) % sets_.size(); }
  View<T, 2> matrix(int i) { return sets_[turn_][i].view(shapes_[i].rows, shapes_[i].cols); }
  View<T, 1> vector(int i) { return sets_[turn_][i].view(); }
  const Buffer<T>& data(int i) const { return sets_[turn_][i]; }
  int count() const { return static_cast<int>(shapes_.size()); }

 private:
  std::vector<Shape> shapes_;
  std::vector<std::vector<Buffer<T>>> sets_;
  std::size_t turn_ = 0;
};

inline constexpr std::int64_t kPastCache = std::int64_t{96} << 20;

/// Bytes per second (read + written) of a parallel copy between rotating buffers: the floor of a memory-bound kernel.
inline double copy_bandwidth(int threads, std::int64_t bytes) {
  const std::int64_t n = std::max<std::int64_t>(bytes / 8, 1024);  // floats in each of two buffers
  const int copies = static_cast<int>(std::clamp<std::int64_t>(kPastCache / (8 * n), 1, 64));
  Operands<float> data({{1, n}, {1, n}}, copies);
  CpuContext ctx(threads);
  std::vector<double> seconds;
  for (int i = 0; i < 3 * copies + 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const float* from = data.vector(0).data;
    float* to = data.vector(1).data;
    parallel_for(ctx, n, 16384, [&](std::int64_t b, std::int64_t e, int) { std::copy(from + b, from + e, to + b); });
    benchmark::DoNotOptimize(to);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    data.next();
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return static_cast<double>(8 * n) / seconds[seconds.size() / 2];
}

/// Registers `name/threads:1|2`. `op(ctx, operands)` runs the kernel on the current set for Operands<float> or
/// <double>. `bytes`: least number of bytes moved for float; `elements`: for the rate of elements.
template <class Op>
void add(const std::string& name, std::vector<Shape> shapes, std::int64_t bytes, std::int64_t elements, Op op) {
  for (int threads : {1, 2}) {
    const auto run = [=](benchmark::State& state) {
      CpuContext ctx(threads);
      {
        Operands<float> single(shapes, 1);
        Operands<double> exact(shapes, 1);
        op(ctx, single);
        op(ctx, exact);
        for (int i = 0; i < single.count(); ++i) {
          double largest = 1e-3, error = 0;
          for (std::int64_t e = 0; e < exact.data(i).size(); ++e) {
            largest = std::max(largest, std::abs(exact.data(i)[e]));
            error = std::max(error, std::abs(exact.data(i)[e] - single.data(i)[e]));
          }
          if (!(error <= 1e-4 * largest))
            return state.SkipWithError(("wrong result in operand " + std::to_string(i)).c_str());
        }
      }
      std::int64_t footprint = 0;
      for (const auto& s : shapes) footprint += s.rows * s.cols * 4;
      Operands<float> data(shapes, static_cast<int>(std::clamp<std::int64_t>(kPastCache / footprint, 1, 64)));
      const double copy = copy_bandwidth(threads, bytes);
      for (int i = 0; i < 4; ++i) {
        op(ctx, data);
        data.next();
      }
      const auto start = std::chrono::steady_clock::now();
      for (auto _ : state) {
        op(ctx, data);
        benchmark::ClobberMemory();
        data.next();
      }
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      using benchmark::Counter;
      state.counters["B/s"] = Counter(static_cast<double>(bytes), Counter::kIsIterationInvariantRate, Counter::kIs1000);
      state.counters["elem/s"] =
          Counter(static_cast<double>(elements), Counter::kIsIterationInvariantRate, Counter::kIs1000);
      state.counters["of_copy"] =
          static_cast<double>(bytes) * static_cast<double>(state.iterations()) / elapsed.count() / copy;
    };
    benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(), run)
        ->UseRealTime()
        ->MinTime(0.1);
  }
}

/// The element type of an Operands argument, inside a generic benchmark lambda.
template <class O>
using ElementOf = std::remove_reference_t<decltype(std::declval<O&>().vector(0)[0])>;

}  // namespace galrec::bench
