#include "kernels/simt/streams.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "kernels/simt/grid.h"
#include "kernels/simt/schedule.h"

namespace galrec::simt {

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string failure = "unspecified launch failure";

struct Streams {
  std::mutex mutex;
  std::vector<cudaStream_t> all;
};

Streams& streams() {
  static Streams* open = new Streams;  // never destroyed: static objects may close streams after it
  return *open;
}

}  // namespace

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

const char* last_failure() { return failure.c_str(); }

cudaError_t fail(cudaError_t error, const std::string& text) {
  failure = text;
  return result(error);
}

bool streams_are_deferred() { return current_schedule().streams == StreamMode::kDeferred; }

void enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(stream->mutex);
  stream->queue.push_back(std::move(work));
}

cudaError_t drain(cudaStream_t stream, std::uint64_t position) {
  const std::lock_guard one(stream->draining);
  for (;;) {
    std::function<void()> work;
    {
      const std::lock_guard lock(stream->mutex);
      if (stream->queue.empty() || stream->done >= position) return cudaSuccess;
      work = std::move(stream->queue.front());
      stream->queue.pop_front();
      ++stream->done;
    }
    try {
      work();
    } catch (const std::exception& error) {
      failure = error.what();
      const std::lock_guard lock(stream->mutex);
      stream->done += stream->queue.size();
      stream->queue.clear();
      return result(cudaErrorLaunchFailure);
    }
  }
}

cudaError_t drain_all() {
  std::vector<cudaStream_t> all;
  {
    const std::lock_guard lock(streams().mutex);
    all = streams().all;
  }
  cudaError_t first = cudaSuccess;
  for (const cudaStream_t stream : all) {
    if (const cudaError_t error = drain(stream); first == cudaSuccess) first = error;
  }
  return first;
}

}  // namespace galrec::simt

using galrec::simt::break_capture;
using galrec::simt::Capture;
using galrec::simt::capture_of;
using galrec::simt::drain;
using galrec::simt::forbidden_while_capturing;
using galrec::simt::result;

cudaError_t cudaGetLastError() { return std::exchange(galrec::simt::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return galrec::simt::last_error; }

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  return galrec::simt::drain_all();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  *stream = new CUstream_st;
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  const std::lock_guard lock(galrec::simt::streams().mutex);
  galrec::simt::streams().all.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return result(cudaErrorInvalidResourceHandle);
  if (Capture* capture = capture_of(stream)) return result(break_capture(*capture, cudaErrorStreamCaptureUnsupported));
  const cudaError_t error = drain(stream);
  {
    const std::lock_guard lock(galrec::simt::streams().mutex);
    std::erase(galrec::simt::streams().all, stream);
  }
  delete stream;
  return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (Capture* capture = capture_of(stream)) return result(break_capture(*capture, cudaErrorStreamCaptureUnsupported));
  return stream == nullptr ? cudaDeviceSynchronize() : drain(stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (Capture* capture = capture_of(stream)) return result(break_capture(*capture, cudaErrorStreamCaptureUnsupported));
  {
    const std::lock_guard lock(stream->mutex);
    if (stream->queue.empty()) return cudaSuccess;
  }
  // Not yet, but by the next time: whoever asks again and again must get there.
  const cudaError_t error = drain(stream);
  return error == cudaSuccess ? cudaErrorNotReady : error;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  // Work that is still to come may name the event.
  const cudaError_t error = event->stream != nullptr && !event->reached && !event->captured
                                ? drain(event->stream, event->position)
                                : cudaSuccess;
  delete event;
  return error;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream == nullptr) return result(cudaErrorInvalidResourceHandle);
  event->stream = stream;
  event->captured = stream->capture != nullptr;
  event->capture = stream->capture;
  if (event->captured) {
    event->position = stream->capture->joined[stream];
    return cudaSuccess;
  }
  const auto reach = [event] {
    event->at = std::chrono::steady_clock::now();
    event->reached = true;
  };
  if (!galrec::simt::streams_are_deferred()) {
    reach();
    return cudaSuccess;
  }
  event->reached = false;
  const std::lock_guard lock(stream->mutex);
  stream->queue.push_back(reach);
  event->position = stream->done + stream->queue.size();
  return cudaSuccess;
}
/// Whether the event is of a capture: nobody can wait for it outside.
bool captured_event(cudaEvent_t event) {
  if (!event->captured) return false;
  if (const auto capture = event->capture.lock()) break_capture(*capture, cudaErrorCapturedEvent);
  return true;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (captured_event(event)) return result(cudaErrorCapturedEvent);
  return event->stream == nullptr || event->reached ? cudaSuccess : drain(event->stream, event->position);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (captured_event(event)) return result(cudaErrorCapturedEvent);
  if (event->stream == nullptr || event->reached) return cudaSuccess;
  const cudaError_t error = drain(event->stream, event->position);
  return error == cudaSuccess ? cudaErrorNotReady : error;
}
/// Waiting for a captured event draws a stream into the capture, or, in a stream that is part of it, closes the other's
/// branch.
cudaError_t wait_in_capture(cudaStream_t stream, cudaEvent_t event) {
  const auto capture = event->capture.lock();
  if (capture == nullptr) return cudaErrorInvalidValue;  // the capture is over
  if (stream->capture == nullptr) {
    stream->capture = capture;
  } else if (stream->capture != capture) {
    break_capture(*capture, cudaErrorStreamCaptureIsolation);
    return break_capture(*stream->capture, cudaErrorStreamCaptureIsolation);
  }
  if (event->stream == stream) return cudaSuccess;
  if (capture->joined[event->stream] == event->position) capture->open[event->stream] = false;
  capture->open[stream] = true;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event->captured) return result(wait_in_capture(stream, event));
  if (Capture* capture = capture_of(stream); capture != nullptr && event->stream != nullptr) {
    return result(break_capture(*capture, cudaErrorStreamCaptureIsolation));
  }
  if (event->stream == nullptr || event->reached || event->stream == stream) return cudaSuccess;
  // The event may be recorded again before the stream gets there: what counts is where it stands now.
  galrec::simt::enqueue(stream, [from = event->stream, position = event->position] { drain(from, position); });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  if (start->captured || stop->captured) return result(cudaErrorInvalidResourceHandle);
  if (!start->timed || !stop->timed || start->stream == nullptr || stop->stream == nullptr) return result(cudaErrorInvalidResourceHandle);
  if (!start->reached || !stop->reached) return result(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(stop->at - start->at).count();
  return cudaSuccess;
}
