// CUDA events around one turn each. On the executor the same calls run, and their times mean nothing.

#include "bench/support/device_timer.h"

#include <algorithm>

#include "kernels/common/device.h"
#include "kernels/common/launch.h"

namespace galrec::bench {

namespace {

#if defined(__CUDACC__)
__global__ void spin(long long cycles) {
  const long long start = clock64();
  while (clock64() - start < cycles) {
  }
}
#endif

/// Keeps the device busy while the host queues what is timed.
void let_the_host_run_ahead([[maybe_unused]] CudaContext& ctx) {
#if defined(__CUDACC__)
  launch(spin, 1, dim3(1), 0, ctx.stream(), 1'000'000LL);
#endif
}

class Event {
 public:
  Event() { GALREC_CUDA_CHECK(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(CudaContext& ctx) { GALREC_CUDA_CHECK(cudaEventRecord(event_, ctx.stream())); }
  /// Seconds from `start` to this event, both of which have happened.
  double since(const Event& start) const {
    float milliseconds = 0;
    GALREC_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.event_, event_));
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

std::vector<double> sample(CudaContext& ctx, const std::function<void(int)>& turn, int count, int first) {
  std::vector<Event> starts(static_cast<std::size_t>(count)), stops(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < starts.size(); ++i) {
    let_the_host_run_ahead(ctx);
    starts[i].record(ctx);
    turn(first + static_cast<int>(i));
    stops[i].record(ctx);
  }
  ctx.synchronize();
  std::vector<double> seconds;
  for (std::size_t i = 0; i < starts.size(); ++i) seconds.push_back(stops[i].since(starts[i]));
  return seconds;
}

}  // namespace

DeviceTiming time_on_device(CudaContext& ctx, const std::function<void(int)>& turn) {
  constexpr int kWarmUp = 4, kLeast = 10, kMost = 100;
  constexpr double kSeconds = 0.3;
  int first = 0, count = 1;
  if (!device_is_emulated()) {
    const double once = sample(ctx, turn, kWarmUp, first).back();
    first = kWarmUp;
    count = static_cast<int>(
        std::clamp(kSeconds / std::max(once, 1e-6), static_cast<double>(kLeast), static_cast<double>(kMost)));
  }
  std::vector<double> seconds = sample(ctx, turn, count, first);
  std::sort(seconds.begin(), seconds.end());
  return {.median = seconds[seconds.size() / 2], .least = seconds.front(), .samples = count};
}

std::int64_t device_cache_bytes() {
#if defined(__CUDACC__)
  int bytes = 0;
  GALREC_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, 0));
  return bytes;
#else
  return 0;
#endif
}

std::string device_name() {
  if (device_is_emulated()) return "the executor";
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return "none";
  return properties.name;
}

}  // namespace galrec::bench
