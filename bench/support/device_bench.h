#pragma once
// Registers benchmarks of the CUDA overloads: `cuda/CASE/TYPE/EXTENTS`. Each first solves a small problem and compares
// it with the CPU in double; then it times copies of the real one that together exceed the cache, and reports bytes/s,
// FLOP/s and the share of the floor. On the executor the small problem is all that runs.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <concepts>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/support/device_timer.h"
#include "bench/support/problem_memory.h"

namespace galrec::bench {

/// The least that a contract moves and multiplies, and the time of that at the rates of an H100 SXM: 3.0 TB/s, and 798
/// TFLOP/s of bf16 products (both measured by others, reference for the goals), 67 TFLOP/s where no tensor core is
/// used.
struct Floor {
  double bytes = 0, flops = 0;
  bool tensor_cores = true;
  double seconds() const { return std::max(bytes / 3.0e12, flops / (tensor_cores ? 798e12 : 67e12)); }
};

/// A problem prepared for timing.
struct DeviceCase {
  std::vector<std::function<void()>> copies;  // each queues the whole work on operands of its own
  Floor floor;
  std::int64_t operand_bytes = 0;  // of one copy
  std::string fault;               // why it must not be timed; empty: it may
};

inline int copies_past_cache(std::int64_t bytes_of_one) {
  if (device_is_emulated()) return 1;
  constexpr std::int64_t kMost = std::int64_t{16} << 30;
  const std::int64_t wanted = 3 * device_cache_bytes() / std::max<std::int64_t>(bytes_of_one, 1) + 2;
  return static_cast<int>(
      std::clamp<std::int64_t>(std::min(wanted, kMost / std::max<std::int64_t>(bytes_of_one, 1)), 1, 64));
}

/// What every output says once: where it ran, and whether its times mean anything.
inline void describe_device() {
  static const bool once = [] {
    benchmark::AddCustomContext("device", device_name());
    benchmark::AddCustomContext("floor", "3.0 TB/s, 798 TFLOP/s bf16 (H100 SXM), whatever the device");
    if (device_is_emulated()) {
      benchmark::AddCustomContext("cuda_times",
                                  "none: a smoke run of tiny shapes on the executor, its times mean nothing");
    }
    return true;
  }();
  static_cast<void>(once);
}

/// `prepare(ctx)` makes the DeviceCase.
template <class Prepare>
void add_device_case(const std::string& name, Prepare prepare) {
  describe_device();
  const auto run = [prepare](benchmark::State& state) {
    try {
      CudaContext ctx;
      const DeviceCase c = prepare(ctx);
      if (!c.fault.empty()) {
        state.SkipWithError(c.fault.c_str());
      } else {
        const DeviceTiming t =
            time_on_device(ctx, [&](int i) { c.copies[static_cast<std::size_t>(i) % c.copies.size()](); });
        for (auto _ : state) state.SetIterationTime(t.median);
        using benchmark::Counter;
        if (c.floor.bytes > 0)
          state.counters["B/s"] = Counter(c.floor.bytes / t.median, Counter::kDefaults, Counter::kIs1000);
        if (c.floor.flops > 0)
          state.counters["FLOP/s"] = Counter(c.floor.flops / t.median, Counter::kDefaults, Counter::kIs1000);
        state.counters["of_floor"] = c.floor.seconds() / t.median;
        state.counters["least_us"] = t.least * 1e6;
        state.counters["samples"] = t.samples;
        state.counters["copies"] = static_cast<double>(c.copies.size());
        state.counters["operands_MB"] = static_cast<double>(c.operand_bytes) / 1e6;
        state.counters["scratch_MB"] = static_cast<double>(ctx.scratch().peak_bytes()) / 1e6;
      }
    } catch (const std::exception& e) {
      state.SkipWithError(e.what());
    }
  };
  benchmark::RegisterBenchmark(("cuda/" + name).c_str(), run)
      ->Iterations(1)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

template <class T>
constexpr const char* type_name() {
  return std::is_same_v<T, bfloat16> ? "bf16" : "fp32";
}

/// A problem class P<Context, T> has a Shape with text() and floor<T>(), a constructor (ProblemMemory&, Shape) and
/// run(). `full` is timed on devices; `tiny` is compared with P<CpuContext, double>, and is all that runs on the
/// executor.
template <template <class, class> class P, class T, class Shape>
void add_device(const std::string& name, const Shape& full, const Shape& tiny,
                double tolerance = std::is_same_v<T, bfloat16> ? 2e-2 : 1e-4) {
  const Shape shape = device_is_emulated() ? tiny : full;
  add_device_case(name + "/" + type_name<T>() + "/" + shape.text(), [=](CudaContext& ctx) {
    DeviceCase out{.copies = {}, .floor = shape.template floor<T>(), .operand_bytes = 0, .fault = ""};
    {
      CpuContext cpu;
      ProblemMemory<CpuContext> oracle_memory(cpu);
      ProblemMemory<CudaContext> memory(ctx);
      P<CpuContext, double> oracle(oracle_memory, tiny);
      P<CudaContext, T> ours(memory, tiny);
      oracle.run();
      ours.run();
      ctx.synchronize();
      const double error = largest_error(memory.results(), oracle_memory.results());
      if (!(error <= tolerance)) {
        out.fault = "wrong result: error " + std::to_string(error) + " of at most " + std::to_string(tolerance);
        return out;
      }
    }
    int copies = 1;
    for (int i = 0; i < copies; ++i) {
      struct Copy {
        Copy(CudaContext& c, const Shape& s) : memory(c), problem(memory, s) {}
        ProblemMemory<CudaContext> memory;
        P<CudaContext, T> problem;
      };
      auto copy = std::make_shared<Copy>(ctx, shape);
      out.operand_bytes = copy->memory.bytes();
      copies = copies_past_cache(out.operand_bytes);
      out.copies.push_back([copy] { copy->problem.run(); });
    }
    return out;
  });
}

enum class Direction { kForward, kBackward, kBoth };

inline std::string direction_name(Direction d) {
  return d == Direction::kForward ? "forward" : d == Direction::kBackward ? "backward" : "both";
}
inline constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackward, Direction::kBoth};

template <class T>
inline constexpr double kSize = static_cast<double>(sizeof(T));

}  // namespace galrec::bench
