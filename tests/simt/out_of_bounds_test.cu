// Accesses past the end, planted in kernels, under AddressSanitizer: it must stop the program. Other builds have detectors of their
// own (the strip behind shared memory, GALREC_SIMT_GUARD_HOST); see detectors_test.cu and docs/executor.md.

#include "kernels/common/warp.h"
#include "kernels/simt/sanitizers.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::Stream;

struct Floats {
  float at[64];
};

__global__ void write_at(float* out, int index) {
  if (threadIdx.x == 3) out[index] = 1.0f;
}
__global__ void read_at(float* out, int index) {
  out[threadIdx.x] = out[static_cast<int>(threadIdx.x) + index];
}
__global__ void write_shared_at(float* out, int index) {
  float* shared = block_shared<Floats>().at;
  shared[threadIdx.x] = 0.0f;
  __syncthreads();
  if (threadIdx.x == 7) shared[index] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x];
}
__global__ void read_shared_at(float* out, int index) {
  float* shared = block_shared<Floats>().at;
  shared[threadIdx.x] = 0.0f;
  __syncthreads();
  out[threadIdx.x] = shared[static_cast<int>(threadIdx.x) + index];
}

class OutOfBounds : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!simt::kAddressSanitizer) GTEST_SKIP() << "a build without AddressSanitizer";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  /// What a program does that launches it.
  void run(void (*kernel)(float*, int), int index) {
    Stream stream;
    DeviceArray<float> out(64);
    launch(kernel, 1, 64, sizeof(Floats), stream, out.data(), index);
    static_cast<void>(out.host());
  }
};

TEST_F(OutOfBounds, WithinIsFine) {
  run(write_at, 63);
  run(read_at, 0);
  run(write_shared_at, 63);
  run(read_shared_at, 0);
}
TEST_F(OutOfBounds, WriteToGlobalMemory) {
  EXPECT_DEATH(run(write_at, 64), "heap-buffer-overflow");
  EXPECT_DEATH(run(write_at, -1), "heap-buffer-overflow");
}
TEST_F(OutOfBounds, ReadOfGlobalMemory) {
  EXPECT_DEATH(run(read_at, 1), "heap-buffer-overflow");
}
TEST_F(OutOfBounds, WriteToSharedMemory) {
  EXPECT_DEATH(run(write_shared_at, 64), "heap-buffer-overflow");
  EXPECT_DEATH(run(write_shared_at, -1), "heap-buffer-overflow");
}
TEST_F(OutOfBounds, ReadOfSharedMemory) {
  EXPECT_DEATH(run(read_shared_at, 1), "heap-buffer-overflow");
}

}  // namespace
}  // namespace galrec
