#pragma once
// The one way to run a loop on several threads. Chunks have a fixed size that does not depend on the thread count, so
// anything summed per chunk and then over chunks in order has the same bits for any number of threads.

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#include "kernels/common/context.h"

namespace galrec {

/// Calls body(begin, end, worker) for consecutive ranges of at most `grain` indices of [0, n). `worker` < ctx.threads()
/// names the executing thread (for per-thread scratch). The first exception is rethrown after all threads have ended.
template <class Body>
void parallel_for(CpuContext& ctx, std::int64_t n, std::int64_t grain, Body&& body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t chunks = (n + grain - 1) / grain;
  if (chunks == 1 || ctx.threads() == 1 || omp_in_parallel()) {
    for (std::int64_t c = 0; c < chunks; ++c) body(c * grain, std::min(n, (c + 1) * grain), 0);
    return;
  }
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
#pragma omp parallel for num_threads(ctx.threads()) schedule(dynamic, 1)
  for (std::int64_t c = 0; c < chunks; ++c) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      body(c * grain, std::min(n, (c + 1) * grain), omp_get_thread_num());
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace galrec
