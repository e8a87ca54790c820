#pragma once
// Streams and events, and the errors that come out of them.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/simt/graphs.h"
#include "kernels/simt/runtime.h"

struct CUstream_st {
  std::recursive_mutex draining;  // one thread at a time does the stream's work
  std::mutex mutex;
  std::deque<std::function<void()>> queue;  // not yet done, oldest first
  std::uint64_t done = 0;                   // pieces of work so far
  bool blocking = true;                     // the default stream and it wait for each other
  std::shared_ptr<galrec::simt::Capture> capture;  // that it is part of
};

struct CUevent_st {
  std::chrono::steady_clock::time_point at{};
  bool timed = true;
  std::atomic<bool> reached = false;  // recorded, and everything before it is done
  cudaStream_t stream = nullptr;  // on which it was recorded last
  std::uint64_t position = 0;     // how many pieces of work of the stream lead to it; of its capture, if it was captured
  std::weak_ptr<galrec::simt::Capture> capture;  // in which it was recorded last
  bool captured = false;                         // it was; there is no time at which it happens
};

namespace galrec::simt {

/// Keeps an error for cudaGetLastError().
cudaError_t result(cudaError_t error);
const char* last_failure();
/// `error`, which cudaGetErrorString will explain by `text`.
cudaError_t fail(cudaError_t error, const std::string& text);

/// Does the stream's work up to `position` pieces, all of it by default. cudaErrorLaunchFailure if a piece throws; the rest of the
/// stream's work is dropped then.
cudaError_t drain(cudaStream_t stream, std::uint64_t position = UINT64_MAX);
/// All streams, in the order of their creation.
cudaError_t drain_all();

}  // namespace galrec::simt
