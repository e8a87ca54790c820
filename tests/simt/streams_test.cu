// Deferred streams: work is done as late as the CUDA documentation allows, so that host code which forgets to wait fails.

#include <cmath>
#include <cstring>

#include "tests/simt/device_array.h"
#include "tests/simt/expect_error.h"
#include "tests/support/expect_error.h"

namespace galrec {
namespace {

using testing::error_of;
using testing::expect_contains;
using testing::Stream;

__global__ void fill(float* x, float value) { x[threadIdx.x] = value; }
__global__ void add(float* x, float value) { x[threadIdx.x] += value; }
__global__ void breaks(float* x) { x[0] = static_cast<float>(__ballot_sync(1u << 31, 1)); }

class DeferredStreams : public ::testing::Test {
 protected:
  void SetUp() override {
    GALREC_CUDA_CHECK(cudaMalloc(&device_, sizeof(host_)));
    GALREC_CUDA_CHECK(cudaMallocHost(&pinned_, sizeof(host_)));
    GALREC_CUDA_CHECK(cudaMemset(device_, 0, sizeof(host_)));
  }
  void TearDown() override {
    cudaFree(device_);
    cudaFreeHost(pinned_);
    cudaGetLastError();
  }
  /// What lies in device memory now, whatever is queued.
  float now() {
    float value = 0.0f;
    GALREC_CUDA_CHECK(cudaMemcpy(&value, device_, sizeof(value), cudaMemcpyDeviceToHost));
    return value;
  }

  simt::ScheduleScope deferred_{{.streams = simt::StreamMode::kDeferred}};
  Stream stream_;
  float* device_ = nullptr;
  float* pinned_ = nullptr;
  float host_[32] = {};
};

TEST_F(DeferredStreams, AKernelRunsWhenSomebodyWaits) {
  float value = 3.0f;
  launch(fill, 1, 32, 0, stream_, device_, value);
  value = 4.0f;  // arguments were copied by the launch
  launch(add, 1, 32, 0, stream_, device_, 0.5f);
  EXPECT_EQ(now(), 0.0f);
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(now(), 3.5f);
}

TEST_F(DeferredStreams, DownloadsToPinnedMemoryArriveLate) {
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  pinned_[0] = 3.0f;
  GALREC_CUDA_CHECK(cudaMemcpyAsync(pinned_, device_, sizeof(host_), cudaMemcpyDeviceToHost, stream_));
  EXPECT_TRUE(std::isnan(pinned_[0]));
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(pinned_[31], 3.0f);
}

TEST_F(DeferredStreams, DownloadsToPageableMemoryWait) {
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  GALREC_CUDA_CHECK(cudaMemcpyAsync(host_, device_, sizeof(host_), cudaMemcpyDeviceToHost, stream_));
  EXPECT_EQ(host_[31], 3.0f);
}

TEST_F(DeferredStreams, UploadsReadPinnedMemoryLateAndPageableMemoryAtOnce) {
  pinned_[0] = 1.0f;
  GALREC_CUDA_CHECK(cudaMemcpyAsync(device_, pinned_, 4, cudaMemcpyHostToDevice, stream_));
  pinned_[0] = 2.0f;
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(now(), 2.0f);
  host_[0] = 5.0f;
  GALREC_CUDA_CHECK(cudaMemcpyAsync(device_, host_, 4, cudaMemcpyHostToDevice, stream_));
  host_[0] = 6.0f;
  EXPECT_EQ(now(), 2.0f);
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(now(), 5.0f);
}

TEST_F(DeferredStreams, MemsetsAndCopiesKeepTheOrderOfTheStream) {
  float* other = nullptr;
  GALREC_CUDA_CHECK(cudaMalloc(&other, sizeof(host_)));
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  GALREC_CUDA_CHECK(cudaMemcpyAsync(other, device_, sizeof(host_), cudaMemcpyDeviceToDevice, stream_));
  GALREC_CUDA_CHECK(cudaMemsetAsync(device_, 0, 4, stream_));
  launch(add, 1, 32, 0, stream_, device_, 1.0f);
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  GALREC_CUDA_CHECK(cudaMemcpy(host_, device_, sizeof(host_), cudaMemcpyDeviceToHost));
  EXPECT_EQ(host_[0], 1.0f);
  EXPECT_EQ(host_[1], 4.0f);
  GALREC_CUDA_CHECK(cudaMemcpy(host_, other, sizeof(host_), cudaMemcpyDeviceToHost));
  EXPECT_EQ(host_[0], 3.0f);
  GALREC_CUDA_CHECK(cudaFree(other));
}

TEST_F(DeferredStreams, EventsLeadToTheirPlaceInTheStream) {
  cudaEvent_t event = nullptr, never = nullptr;
  GALREC_CUDA_CHECK(cudaEventCreate(&event));
  GALREC_CUDA_CHECK(cudaEventCreate(&never));
  EXPECT_EQ(cudaEventSynchronize(never), cudaSuccess);
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  GALREC_CUDA_CHECK(cudaEventRecord(event, stream_));
  launch(add, 1, 32, 0, stream_, device_, 1.0f);
  GALREC_CUDA_CHECK(cudaEventSynchronize(event));
  EXPECT_EQ(now(), 3.0f);
  GALREC_CUDA_CHECK(cudaEventRecord(event, stream_));
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(now(), 4.0f);
  cudaEventDestroy(event);
  cudaEventDestroy(never);
}

TEST_F(DeferredStreams, StreamsWaitForEventsOfOthersOnly) {
  Stream second;
  cudaEvent_t event = nullptr;
  GALREC_CUDA_CHECK(cudaEventCreate(&event));
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  launch(add, 1, 32, 0, second, device_, 1.0f);
  GALREC_CUDA_CHECK(cudaStreamSynchronize(second));  // nothing orders the two: the sum comes first here, and is overwritten
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(now(), 3.0f);
  launch(fill, 1, 32, 0, stream_, device_, 5.0f);
  GALREC_CUDA_CHECK(cudaEventRecord(event, stream_));
  GALREC_CUDA_CHECK(cudaStreamWaitEvent(second, event));
  launch(add, 1, 32, 0, second, device_, 1.0f);
  GALREC_CUDA_CHECK(cudaStreamSynchronize(second));
  EXPECT_EQ(now(), 6.0f);
  cudaEventDestroy(event);
}

TEST_F(DeferredStreams, QueriesAndTheDeviceWait) {
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  launch(add, 1, 32, 0, stream_, device_, 1.0f);
  GALREC_CUDA_CHECK(cudaDeviceSynchronize());
  EXPECT_EQ(now(), 4.0f);
}

TEST_F(DeferredStreams, FreeingWaitsForEverything) {
  float* other = nullptr;
  GALREC_CUDA_CHECK(cudaMalloc(&other, sizeof(host_)));
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);
  GALREC_CUDA_CHECK(cudaFree(other));
  EXPECT_EQ(now(), 3.0f);
}

TEST_F(DeferredStreams, ErrorsComeWithTheWait) {
  launch(breaks, 1, 32, 0, stream_, device_);
  launch(fill, 1, 32, 0, stream_, device_, 3.0f);  // dropped
  const std::string message = error_of([&] { GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_)); });
  for (const char* part : {"cudaStreamSynchronize(stream_)", "cudaErrorLaunchFailure", "launch of breaks", "the calling lane is not in its own mask"}) {
    expect_contains(message, part);
  }
  EXPECT_EQ(now(), 0.0f);
  expect_contains(error_of([&] { launch(fill, 0, 32, 0, stream_, device_, 1.0f); }), "an empty grid or block");
  launch(fill, 1, 32, 0, stream_, device_, 7.0f);
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(now(), 7.0f);
}

TEST(ImmediateStreams, WorkIsDoneAtOnce) {
  const simt::ScheduleScope immediate({.streams = simt::StreamMode::kImmediate});
  Stream stream;
  const testing::DeviceArray<float> x(32);
  launch(fill, 1, 32, 0, stream, x.data(), 3.0f);
  float value = 0.0f;
  GALREC_CUDA_CHECK(cudaMemcpy(&value, x.data(), 4, cudaMemcpyDeviceToHost));
  EXPECT_EQ(value, 3.0f);
}

}  // namespace
}  // namespace galrec
