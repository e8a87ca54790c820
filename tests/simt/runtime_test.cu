// The runtime's subset: memory that knows its bounds, copies that know their sides, streams and events.

#include <cmath>
#include <cstring>

#include "kernels/simt/device_memory.h"
#include "tests/simt/device_array.h"
#include "tests/simt/expect_error.h"
#include "tests/support/expect_error.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::error_of;
using testing::expect_contains;
using testing::Stream;

class Runtime : public ::testing::Test {
 protected:
  void SetUp() override { GALREC_CUDA_CHECK(cudaMalloc(&device_, 100 * sizeof(float))); }
  void TearDown() override {
    cudaFree(device_);
    cudaGetLastError();
  }
  float* device_ = nullptr;
  float host_[200] = {};
};

TEST_F(Runtime, DeviceMemoryIsPoisonedAndAligned) {
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(device_) % 256, 0u);
  ASSERT_EQ(cudaMemcpy(host_, device_, sizeof(float) * 100, cudaMemcpyDeviceToHost), cudaSuccess);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(std::isnan(host_[i]));
}

TEST_F(Runtime, CopiesAndMemsets) {
  for (int i = 0; i < 100; ++i) host_[i] = static_cast<float>(i);
  float* second = nullptr;
  ASSERT_EQ(cudaMalloc(&second, 100 * sizeof(float)), cudaSuccess);
  Stream stream;
  EXPECT_EQ(cudaMemcpyAsync(device_, host_, 400, cudaMemcpyHostToDevice, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(second, device_, 400, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(second + 50, 0, 40, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(host_ + 100, second, 400, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(host_[100 + i], i >= 50 && i < 60 ? 0.0f : static_cast<float>(i));
  EXPECT_EQ(cudaMemcpy(nullptr, nullptr, 0, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaFree(second), cudaSuccess);
}

TEST_F(Runtime, CopiesBeyondAnAllocationOrBetweenWrongSides) {
  EXPECT_EQ(cudaMemcpy(device_, host_, 404, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device_ + 50, host_, 204, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device_ + 50, host_, 200, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host_, device_, 404, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host_, device_, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host_, host_ + 100, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device_, host_, 4, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host_, 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(device_ + 99, 0, 8), cudaErrorInvalidValue);
}

TEST_F(Runtime, ErrorsAreKeptOnceAndThrown) {
  cudaGetLastError();
  EXPECT_EQ(cudaFree(host_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  const std::string message = error_of([&] { GALREC_CUDA_CHECK(cudaFree(host_)); });
  for (const char* part : {"runtime_test.cu", "cudaFree(host_)", "invalid argument", "cudaErrorInvalidValue"}) expect_contains(message, part);
}

TEST_F(Runtime, AllocationsAreFound) {
  EXPECT_EQ(simt::find_allocation(device_ + 3).begin, reinterpret_cast<std::byte*>(device_));
  EXPECT_EQ(simt::find_allocation(device_, 400).bytes, 400u);
  EXPECT_EQ(simt::find_allocation(device_, 401).begin, nullptr);
  EXPECT_EQ(simt::find_allocation(device_ + 100).begin, nullptr);
  EXPECT_EQ(simt::find_allocation(host_).begin, nullptr);
  std::size_t free_before = 0, free_after = 0, total = 0;
  cudaMemGetInfo(&free_before, &total);
  const DeviceArray<float> more(1000);
  cudaMemGetInfo(&free_after, &total);
  EXPECT_EQ(free_before - free_after, 4000u);
}

TEST_F(Runtime, OneDevice) {
  int count = 0, device = -1, value = 0;
  cudaDeviceProp properties{};
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "GALRec SIMT executor");
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);
  EXPECT_EQ(value, properties.multiProcessorCount);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorNotReady), "cudaErrorNotReady");
}

TEST_F(Runtime, EventsMeasureTheHostsTime) {
  Stream stream;
  cudaEvent_t start = nullptr, stop = nullptr, untimed = nullptr;
  EXPECT_EQ(cudaEventCreate(&start), cudaSuccess);
  EXPECT_EQ(cudaEventCreate(&stop), cudaSuccess);
  EXPECT_EQ(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(start, stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(stop, stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(untimed, stream), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(stop), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, stop), cudaSuccess);
  float milliseconds = -1.0f;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, stop), cudaSuccess);
  EXPECT_GE(milliseconds, 0.0f);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, untimed), cudaErrorInvalidResourceHandle);
  for (const cudaEvent_t event : {start, stop, untimed}) EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

__global__ void add_one(float* x) { x[threadIdx.x] += 1.0f; }
__global__ void far_beyond(float* x) { x[1000] = 1.0f; }

// With GALREC_SIMT_GUARD_HOST=1. The death test starts the program anew, so that the variable is read.
class GuardedDeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    setenv("GALREC_SIMT_GUARD_HOST", "1", 1);
  }
  void TearDown() override { unsetenv("GALREC_SIMT_GUARD_HOST"); }
};

TEST_F(GuardedDeathTest, HostCodeMayNotTouchDeviceMemory) {
  EXPECT_DEATH(
      {
        const DeviceArray<float> x(64, 1.0f);
        volatile float* p = x.data() + 5;
        static_cast<void>(*p);
      },
      "host code dereferences device memory: byte 20 of the 256 bytes");
}

TEST_F(GuardedDeathTest, KernelsAndCopiesMay) {
  EXPECT_EXIT(
      {
        Stream stream;
        const DeviceArray<float> x(64, 1.0f);
        launch(add_one, 1, 64, 0, stream, x.data());
        GALREC_CUDA_CHECK(cudaMemsetAsync(x.data(), 0, 4, stream));
        const auto got = x.host();
        std::exit(got[0] == 0.0f && got[63] == 2.0f ? 7 : 1);
      },
      ::testing::ExitedWithCode(7), "");
}

TEST_F(GuardedDeathTest, KernelsMayNotWriteBeyond) {
  EXPECT_DEATH(
      {
        Stream stream;
        const DeviceArray<float> x(64, 1.0f);
        launch(far_beyond, 1, 1, 0, stream, x.data());
        cudaStreamSynchronize(stream);
      },
      "device memory overrun: byte 4000 of the 256 bytes");
}

}  // namespace
}  // namespace galrec
