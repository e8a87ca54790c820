// Races with and without the barrier that orders them: the detector must see the first and stay silent on the second.

#include <gtest/gtest.h>

#include <string>

#include "kernels/common/buffer.h"
#include "kernels/common/context.h"
#include "kernels/common/launch.h"
#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "kernels/simt/instrument/instrument.h"

namespace galrec::simt {
namespace {

struct Exchange {
  float value[64];
};

enum class Order { kNone, kWarp, kBlock };

/// Each thread writes its slot and reads the one `distance` away.
template <Order order>
__global__ void exchange(float* out, int distance) {
  auto& s = block_shared<Exchange>();
  const int t = thread_id();
  s.value[t] = static_cast<float>(t);
  if constexpr (order == Order::kWarp) __syncwarp();
  if constexpr (order == Order::kBlock) __syncthreads();
  out[t] = s.value[t ^ distance];
}

__global__ void read_before_write(float* out) {
  auto& s = block_shared<Exchange>();
  out[thread_id()] = s.value[thread_id()];
}

/// Reads a slot that its owner overwrites afterwards.
template <Order order>
__global__ void overwrite(float* out) {
  auto& s = block_shared<Exchange>();
  const int t = thread_id();
  s.value[t] = 1.0f;
  __syncthreads();
  const float seen = s.value[(t + 32) % 64];
  if constexpr (order == Order::kBlock) __syncthreads();
  s.value[t] = 2.0f;
  out[t] = seen;
}

__global__ void same_element(float* out) {
  out[0] = static_cast<float>(blockIdx.x);
}
__global__ void neighbours(float* out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;
}
__global__ void halves(bfloat16* out) {
  out[threadIdx.x] = to_bf16(1.0f);
}
__global__ void count_all(int* out) {
  atomicAdd(out, 1);
}
__global__ void atomic_and_plain(int* out) {
  if (blockIdx.x == 0) atomicAdd(out, 1);
  if (blockIdx.x == 1) *out = 5;
}

struct Rows {
  bfloat16 value[8][8];
};
/// Lanes 0 to 7 write a row each, ldmatrix reads them all.
template <Order order>
__global__ void matrix_rows(std::uint32_t* out) {
  auto& s = block_shared<Rows>();
  const int lane = lane_id();
  if (lane < 8) {
    for (int c = 0; c < 8; ++c) s.value[lane][c] = to_bf16(1.0f);
  }
  if constexpr (order == Order::kWarp) __syncwarp();
  std::uint32_t r[1];
  ldmatrix_x1<MatrixOrder::kRow>(r, &s.value[lane % 8][0]);
  out[lane] = r[0];
}

class Races : public testing::Test {
 protected:
  void SetUp() override { set_watch(Watch::kRaces); }

  template <class Kernel, class... Arguments>
  std::string run(Kernel kernel, int blocks, int threads, std::size_t shared, Arguments... arguments) {
    try {
      launch(kernel, blocks, threads, shared, ctx_.stream(), arguments...);
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  }

  CudaContext ctx_;
  Buffer<float> out_ = Buffer<float>::zeros(1024, ctx_.memory());
};

TEST_F(Races, BlockBarrierOrdersSharedMemory) {
  EXPECT_NE(run(exchange<Order::kNone>, 1, 64, sizeof(Exchange), out_.data(), 32).find("nobody wrote"),
            std::string::npos);
  EXPECT_NE(run(exchange<Order::kWarp>, 1, 64, sizeof(Exchange), out_.data(), 32), "");
  EXPECT_EQ(run(exchange<Order::kBlock>, 1, 64, sizeof(Exchange), out_.data(), 32), "");
}

TEST_F(Races, WarpBarrierOrdersLanesOfOneWarp) {
  EXPECT_NE(run(exchange<Order::kNone>, 1, 32, sizeof(Exchange), out_.data(), 1), "");
  EXPECT_EQ(run(exchange<Order::kWarp>, 1, 32, sizeof(Exchange), out_.data(), 1), "");
}

TEST_F(Races, NamesBothPlaces) {
  const std::string message = run(overwrite<Order::kNone>, 1, 64, sizeof(Exchange), out_.data());
  EXPECT_NE(message.find("write after read, shared byte"), std::string::npos) << message;
  EXPECT_NE(message.find("race_detector_test.cu:"), std::string::npos) << message;
  EXPECT_NE(message.find("nothing orders them"), std::string::npos) << message;
  EXPECT_EQ(run(overwrite<Order::kBlock>, 1, 64, sizeof(Exchange), out_.data()), "");
}

TEST_F(Races, ReadsOfSharedMemoryThatNobodyWrote) {
  EXPECT_NE(run(read_before_write, 1, 32, sizeof(Exchange), out_.data()).find("that nobody wrote"), std::string::npos);
}

TEST_F(Races, BlocksAreNeverOrdered) {
  EXPECT_NE(run(same_element, 2, 1, 0, out_.data()).find("two writes, global memory"), std::string::npos);
  EXPECT_EQ(run(same_element, 1, 1, 0, out_.data()), "");
  EXPECT_EQ(run(neighbours, 4, 32, 0, out_.data()), "");
  EXPECT_EQ(run(halves, 1, 64, 0, reinterpret_cast<bfloat16*>(out_.data())), "");
}

TEST_F(Races, LaunchesAreOrdered) {
  EXPECT_EQ(run(neighbours, 4, 32, 0, out_.data()), "");
  EXPECT_EQ(run(neighbours, 2, 64, 0, out_.data()), "");
}

TEST_F(Races, AtomicsRaceOnlyWithPlainAccesses) {
  auto* counter = reinterpret_cast<int*>(out_.data());
  EXPECT_EQ(run(count_all, 4, 32, 0, counter), "");
  EXPECT_NE(run(atomic_and_plain, 2, 1, 0, counter), "");
}

TEST_F(Races, MatrixLoadsAreReads) {
  auto* out = reinterpret_cast<std::uint32_t*>(out_.data());
  EXPECT_NE(run(matrix_rows<Order::kNone>, 1, 32, sizeof(Rows), out), "");
  EXPECT_EQ(run(matrix_rows<Order::kWarp>, 1, 32, sizeof(Rows), out), "");
}

}  // namespace
}  // namespace galrec::simt
