// Capture and graphs: what is kept, what is refused, and the mistakes that a replay would repeat silently.

#include <cstring>
#include <string>
#include <thread>

#include "kernels/simt/streams.h"
#include "tests/simt/device_array.h"
#include "tests/simt/expect_error.h"
#include "tests/support/expect_error.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::error_of;
using testing::expect_contains;
using testing::Stream;

__global__ void add(float* x, float value) {
  x[threadIdx.x] += value;
}
__global__ void add_from(float* x, const float* value) {
  x[threadIdx.x] += *value;
}
__global__ void breaks(float* x) {
  x[0] = static_cast<float>(__ballot_sync(1u << 31, 1));
}

/// Everything runs at once and, a second time, when somebody waits.
class Graphs : public ::testing::TestWithParam<simt::StreamMode> {
 protected:
  void TearDown() override { cudaGetLastError(); }

  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    GALREC_CUDA_CHECK(cudaStreamBeginCapture(stream_, mode));
  }
  cudaGraph_t end() {
    cudaGraph_t graph = nullptr;
    GALREC_CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
    return graph;
  }
  /// Of a capture that something has gone wrong in.
  cudaError_t end_in_error() {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(stream_, &graph);
    EXPECT_EQ(graph, nullptr);
    return error;
  }
  static cudaGraphExec_t instantiate(cudaGraph_t graph) {
    cudaGraphExec_t executable = nullptr;
    GALREC_CUDA_CHECK(cudaGraphInstantiate(&executable, graph));
    GALREC_CUDA_CHECK(cudaGraphDestroy(graph));
    return executable;
  }

  simt::ScheduleScope scope_{{.streams = GetParam()}};
  Stream stream_;
  DeviceArray<float> x_{32};
};
INSTANTIATE_TEST_SUITE_P(Streams, Graphs, ::testing::Values(simt::StreamMode::kImmediate, simt::StreamMode::kDeferred),
                         [](const auto& info) {
                           return info.param == simt::StreamMode::kImmediate ? "Immediate" : "Deferred";
                         });

TEST_P(Graphs, KernelsCopiesAndMemsetsRunWithEachLaunchOnly) {
  DeviceArray<float> copy(32);
  float value = 2.0f;
  begin();
  launch(add, 1, 32, 0, stream_, x_.data(), value);
  value = 100.0f;  // arguments were copied by the capture
  GALREC_CUDA_CHECK(cudaMemcpyAsync(copy.data(), x_.data(), 32 * sizeof(float), cudaMemcpyDeviceToDevice, stream_));
  GALREC_CUDA_CHECK(cudaMemsetAsync(x_.data(), 0, sizeof(float), stream_));
  const cudaGraph_t graph = end();
  std::size_t nodes = 0;
  GALREC_CUDA_CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT_EQ(nodes, 3u);
  EXPECT_EQ(x_.host()[31], 0.0f);
  const cudaGraphExec_t executable = instantiate(graph);
  for (int replay = 0; replay < 3; ++replay) GALREC_CUDA_CHECK(cudaGraphLaunch(executable, stream_));
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(executable));  // what is queued is done all the same
  EXPECT_EQ(x_.host()[31], 6.0f);
  EXPECT_EQ(x_.host()[0], 0.0f);
  EXPECT_EQ(copy.host()[0], 2.0f);
  EXPECT_EQ(copy.host()[31], 6.0f);
}

TEST_P(Graphs, PinnedMemoryIsReadAtEachReplay) {
  float* pinned = nullptr;
  GALREC_CUDA_CHECK(cudaMallocHost(&pinned, sizeof(float)));
  begin();
  GALREC_CUDA_CHECK(cudaMemcpyAsync(x_.data(), pinned, sizeof(float), cudaMemcpyHostToDevice, stream_));
  const cudaGraphExec_t executable = instantiate(end());
  *pinned = 5.0f;
  GALREC_CUDA_CHECK(cudaGraphLaunch(executable, stream_));
  EXPECT_EQ(x_.host()[0], 5.0f);
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(executable));
  GALREC_CUDA_CHECK(cudaFreeHost(pinned));
}

TEST_P(Graphs, AGraphIsPartOfTheStreamsOrder) {
  begin();
  launch(add, 1, 32, 0, stream_, x_.data(), 1.0f);
  const cudaGraphExec_t executable = instantiate(end());
  GALREC_CUDA_CHECK(cudaGraphLaunch(executable, stream_));
  GALREC_CUDA_CHECK(cudaMemsetAsync(x_.data(), 0, 32 * sizeof(float), stream_));
  GALREC_CUDA_CHECK(cudaGraphLaunch(executable, stream_));
  EXPECT_EQ(x_.host()[7], 1.0f);
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(executable));
}

TEST_P(Graphs, AGraphMayBeCapturedInAnother) {
  begin();
  launch(add, 1, 32, 0, stream_, x_.data(), 1.0f);
  const cudaGraphExec_t inner = instantiate(end());
  begin();
  for (int i = 0; i < 2; ++i) GALREC_CUDA_CHECK(cudaGraphLaunch(inner, stream_));
  const cudaGraphExec_t outer = instantiate(end());
  GALREC_CUDA_CHECK(cudaGraphLaunch(outer, stream_));
  EXPECT_EQ(x_.host()[0], 2.0f);
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(inner));
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(outer));
}

TEST_P(Graphs, EventsDrawOtherStreamsIn) {
  Stream second;
  cudaEvent_t fork = nullptr, join = nullptr;
  GALREC_CUDA_CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
  GALREC_CUDA_CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  const auto branch = [&](bool joined) {
    begin();
    launch(add, 1, 32, 0, stream_, x_.data(), 1.0f);
    GALREC_CUDA_CHECK(cudaEventRecord(fork, stream_));
    GALREC_CUDA_CHECK(cudaStreamWaitEvent(second, fork));
    launch(add, 1, 32, 0, second, x_.data(), 2.0f);
    GALREC_CUDA_CHECK(cudaEventRecord(join, second));
    if (joined) GALREC_CUDA_CHECK(cudaStreamWaitEvent(stream_, join));
  };
  branch(true);
  const cudaGraphExec_t executable = instantiate(end());
  GALREC_CUDA_CHECK(cudaGraphLaunch(executable, stream_));
  EXPECT_EQ(x_.host()[0], 3.0f);
  launch(add, 1, 32, 0, second, x_.data(), 4.0f);  // a stream of its own again
  EXPECT_EQ(x_.host()[0], 7.0f);
  branch(false);
  EXPECT_EQ(end_in_error(), cudaErrorStreamCaptureUnjoined);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusActive;
  GALREC_CUDA_CHECK(cudaStreamIsCapturing(second, &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(executable));
  cudaEventDestroy(fork);
  cudaEventDestroy(join);
}

/// What CUDA refuses while a stream captures, with its own error; the capture is lost then.
TEST_P(Graphs, WhatWaitsOrAllocatesEndsTheCapture) {
  float* pinned = nullptr;
  GALREC_CUDA_CHECK(cudaMallocHost(&pinned, sizeof(float)));
  float* other = nullptr;
  GALREC_CUDA_CHECK(cudaMalloc(&other, 4));
  float pageable = 0.0f;
  void* p = nullptr;
  const auto refused = [&](const char* what, auto f, cudaError_t expected = cudaErrorStreamCaptureUnsupported) {
    SCOPED_TRACE(what);
    begin();
    launch(add, 1, 32, 0, stream_, x_.data(), 1.0f);
    EXPECT_EQ(f(), expected);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    GALREC_CUDA_CHECK(cudaStreamIsCapturing(stream_, &status));
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    expect_contains(error_of([&] { launch(add, 1, 32, 0, stream_, x_.data(), 1.0f); }),
                    "previous error during capture");
    EXPECT_EQ(end_in_error(), cudaErrorStreamCaptureInvalidated);
    GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));  // as it was before
  };
  refused("synchronise", [&] { return cudaStreamSynchronize(stream_); });
  refused("query", [&] { return cudaStreamQuery(stream_); });
  refused("device", [&] { return cudaDeviceSynchronize(); });
  refused("malloc", [&] { return cudaMalloc(&p, 4); });
  refused("free", [&] { return cudaFree(other); });
  refused("malloc host", [&] { return cudaMallocHost(&p, 4); });
  refused("free host", [&] { return cudaFreeHost(pinned); });
  refused("default stream", [&] { return cudaMemcpy(x_.data(), &pageable, 4, cudaMemcpyHostToDevice); });
  refused("default stream's memset", [&] { return cudaMemset(x_.data(), 0, 4); });
  refused("pageable upload", [&] { return cudaMemcpyAsync(x_.data(), &pageable, 4, cudaMemcpyHostToDevice, stream_); });
  refused("pageable download",
          [&] { return cudaMemcpyAsync(&pageable, x_.data(), 4, cudaMemcpyDeviceToHost, stream_); });
  cudaEvent_t event = nullptr;
  GALREC_CUDA_CHECK(cudaEventCreate(&event));
  refused(
      "event",
      [&] { return cudaEventRecord(event, stream_) != cudaSuccess ? cudaSuccess : cudaEventSynchronize(event); },
      cudaErrorCapturedEvent);
  refused(
      "query of an event",
      [&] { return cudaEventRecord(event, stream_) != cudaSuccess ? cudaSuccess : cudaEventQuery(event); },
      cudaErrorCapturedEvent);
  Stream outside;
  GALREC_CUDA_CHECK(cudaEventRecord(event, outside));
  refused(
      "event of another stream", [&] { return cudaStreamWaitEvent(stream_, event); }, cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(x_.host()[0], 0.0f);
  cudaEventDestroy(event);
  GALREC_CUDA_CHECK(cudaFree(other));
  GALREC_CUDA_CHECK(cudaFreeHost(pinned));
}

TEST_P(Graphs, BeginningAndEndingHaveRules) {
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
  begin();
  EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaErrorIllegalState);
  cudaError_t elsewhere = cudaSuccess;
  std::thread([&] { elsewhere = cudaStreamEndCapture(stream_, &graph); }).join();
  EXPECT_EQ(elsewhere, cudaErrorStreamCaptureWrongThread);
  EXPECT_EQ(end_in_error(), cudaErrorStreamCaptureInvalidated);
  expect_contains(error_of([&] { GALREC_CUDA_CHECK(cudaStreamEndCapture(stream_, &graph)); }), "cudaErrorIllegalState");
}

TEST_P(Graphs, TheModeSaysWhomACaptureConcerns) {
  const auto allocate_elsewhere = [] {
    cudaError_t error = cudaSuccess;
    std::thread([&] {
      void* p = nullptr;
      error = cudaMalloc(&p, 4);
      cudaFree(p);
    }).join();
    return error;
  };
  void* p = nullptr;
  begin(cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(allocate_elsewhere(), cudaSuccess);
  GALREC_CUDA_CHECK(cudaGraphDestroy(end()));
  begin(cudaStreamCaptureModeGlobal);
  EXPECT_EQ(allocate_elsewhere(), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(end_in_error(), cudaErrorStreamCaptureInvalidated);
  begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaMalloc(&p, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  GALREC_CUDA_CHECK(cudaGraphDestroy(end()));
}

TEST_P(Graphs, AnErrorInAReplayNamesTheKernel) {
  begin();
  launch(breaks, 1, 32, 0, stream_, x_.data());
  const cudaGraphExec_t executable = instantiate(end());
  const std::string message = error_of([&] {
    GALREC_CUDA_CHECK(cudaGraphLaunch(executable, stream_));
    GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  });
  for (const char* part : {"launch of breaks", "the calling lane is not in its own mask"})
    expect_contains(message, part);
  begin();
  expect_contains(error_of([&] { launch(add, 0, 32, 0, stream_, x_.data(), 1.0f); }), "an empty grid");
  GALREC_CUDA_CHECK(cudaGraphDestroy(end()));
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(executable));
}

TEST_P(Graphs, MemoryFreedBeforeTheReplayIsReported) {
  DeviceArray<float> value(1, 3.0f);
  auto* short_lived = new DeviceArray<float>(32);
  begin();
  launch(add, 1, 32, 0, stream_, x_.data(), 1.0f);
  launch(add_from, 1, 32, 0, stream_, short_lived->data(), value.data());
  const cudaGraphExec_t kernels = instantiate(end());
  begin();
  GALREC_CUDA_CHECK(cudaMemsetAsync(short_lived->data() + 8, 0, 4, stream_));
  const cudaGraphExec_t memset = instantiate(end());
  GALREC_CUDA_CHECK(cudaGraphLaunch(kernels, stream_));
  GALREC_CUDA_CHECK(cudaGraphLaunch(memset, stream_));
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  delete short_lived;
  const DeviceArray<float> later(32);  // perhaps at the same address: still not what was captured
  const std::string message = error_of([&] { GALREC_CUDA_CHECK(cudaGraphLaunch(kernels, stream_)); });
  for (const char* part :
       {"cudaErrorIllegalAddress", "node 1 (kernel add_from)", "freed after the capture", "128 bytes"})
    expect_contains(message, part);
  expect_contains(error_of([&] { GALREC_CUDA_CHECK(cudaGraphLaunch(memset, stream_)); }), "node 0 (memset)");
  EXPECT_EQ(x_.host()[0], 1.0f);  // nothing of a graph that dangles is run
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(kernels));
  GALREC_CUDA_CHECK(cudaGraphExecDestroy(memset));
}

/// The mistake that no error shows: a value which changes from step to step was an argument of the captured kernel. Two
/// captures tell.
TEST_P(Graphs, AHostValueThatWasCapturedShowsInASecondCapture) {
  DeviceArray<float> on_device(1, 1.0f);
  const auto captured = [&](float baked) {
    begin();
    launch(add_from, 1, 32, 0, stream_, x_.data(), on_device.data());
    launch(add, 1, 32, 0, stream_, x_.data(), baked);
    return end();
  };
  const cudaGraph_t first = captured(1.0f), same = captured(1.0f), other = captured(2.0f);
  EXPECT_EQ(simt::first_difference(*first, *same), "");
  expect_contains(simt::first_difference(*first, *other), "node 1 (kernel add");
  begin();
  const cudaGraph_t empty = end();
  EXPECT_EQ(simt::first_difference(*first, *empty), "2 and 0 nodes");
  for (const cudaGraph_t graph : {first, same, other, empty}) GALREC_CUDA_CHECK(cudaGraphDestroy(graph));
}

}  // namespace
}  // namespace galrec
