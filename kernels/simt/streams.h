#pragma once
// Streams and events, and the errors that come out of them.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "kernels/simt/runtime.h"

struct CUstream_st {
  std::recursive_mutex draining;  // one thread at a time does the stream's work
  std::mutex mutex;
  std::deque<std::function<void()>> queue;  // not yet done, oldest first
  std::uint64_t done = 0;                   // pieces of work so far
};

struct CUevent_st {
  std::chrono::steady_clock::time_point at{};
  bool timed = true;
  std::atomic<bool> reached = false;  // recorded, and everything before it is done
  cudaStream_t stream = nullptr;  // on which it was recorded last
  std::uint64_t position = 0;     // how many pieces of work of the stream lead to it
};

namespace galrec::simt {

/// Keeps an error for cudaGetLastError().
cudaError_t result(cudaError_t error);
const char* last_failure();

/// Does the stream's work up to `position` pieces, all of it by default. cudaErrorLaunchFailure if a piece throws; the rest of the
/// stream's work is dropped then.
cudaError_t drain(cudaStream_t stream, std::uint64_t position = UINT64_MAX);
/// All streams, in the order of their creation.
cudaError_t drain_all();

}  // namespace galrec::simt
