#pragma once
// Times work on a device with CUDA events, as bench/peers does on the other side.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/common/context.h"

namespace galrec::bench {

/// Whether kernels run on the executor: shapes are then tiny, each is run once, and times mean nothing.
constexpr bool device_is_emulated() {
#if defined(GALREC_CUDA_EMULATED)
  return true;
#else
  return false;
#endif
}

struct DeviceTiming {
  double median = 0, least = 0;  // seconds
  int samples = 0;
};

/// Runs `turn(i)` for i = 0, 1, …, which must queue its work on the context's stream. Before each timed turn the device
/// spins for about half a millisecond, so that the host is ahead and the events enclose work of the device only.
DeviceTiming time_on_device(CudaContext& ctx, const std::function<void(int)>& turn);

/// Bytes of the device's second-level cache.
std::int64_t device_cache_bytes();
/// Name of the device, for the output's context.
std::string device_name();

}  // namespace galrec::bench
