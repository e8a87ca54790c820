// launch(): arguments, shapes, errors, templates, big shared memory, many OS threads; and the order in which things run.

#include <atomic>
#include <numeric>
#include <set>
#include <thread>

#include "kernels/common/warp.h"
#include "kernels/simt/grid.h"
#include "tests/simt/device_array.h"
#include "tests/simt/expect_error.h"
#include "tests/support/expect_error.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::error_of;
using testing::expect_contains;
using testing::in_all_orders;
using testing::Stream;

struct Options {
  float scale = 1.0f;
  int offset = 0;
};

template <class T, int Repeat>
__global__ void scale(T* out, const T* in, std::int64_t n, Options options) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  for (int r = 0; r < Repeat; ++r) out[i] = static_cast<T>(static_cast<float>(in[i]) * options.scale) + static_cast<T>(options.offset);
}

TEST(Launch, ConvertsArgumentsAndTakesTemplates) {
  Stream stream;
  std::vector<double> values(1000);
  std::iota(values.begin(), values.end(), 0.0);
  const DeviceArray<double> in(values), out(1000);
  double* const from = in.data();  // double* to const double*, int to int64
  launch(scale<double, 2>, std::size_t{8}, 128, 0, stream, out.data(), from, 1000, Options{2.0f, 3});
  const auto got = out.host();
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_EQ(got[i], 2.0 * static_cast<double>(i) + 3.0);
}

__global__ void where_am_i(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z + 1000 * threadIdx.x + 10000 * threadIdx.y + 100000 * threadIdx.z;
}

TEST(Launch, ThreeDimensionsOfBlocksAndThreads) {
  in_all_orders([] {
    Stream stream;
    const dim3 grid(5, 3, 2), block(4, 3, 7);
    const DeviceArray<unsigned> out(5 * 3 * 2 * 4 * 3 * 7);
    launch(where_am_i, grid, block, 0, stream, out.data());
    const auto got = out.host();
    std::size_t at = 0;
    for (unsigned bz = 0; bz < 2; ++bz)
      for (unsigned by = 0; by < 3; ++by)
        for (unsigned bx = 0; bx < 5; ++bx)
          for (unsigned tz = 0; tz < 7; ++tz)
            for (unsigned ty = 0; ty < 3; ++ty)
              for (unsigned tx = 0; tx < 4; ++tx) ASSERT_EQ(got[at++], bx + 10 * by + 100 * bz + 1000 * tx + 10000 * ty + 100000 * tz);
  });
}

template <int Bytes>
struct Big {
  unsigned char at[Bytes];
};

template <int Bytes>
__global__ void use_it_all(int* out) {
  auto& shared = block_shared<Big<Bytes>>();
  for (int i = thread_id(); i < Bytes; i += block_threads()) shared.at[i] = static_cast<unsigned char>(i % 251);
  __syncthreads();
  int wrong = reinterpret_cast<std::uintptr_t>(&shared) % 1024 == 0 ? 0 : 1;
  for (int i = thread_id(); i < Bytes; i += block_threads()) wrong += shared.at[Bytes - 1 - i] != (Bytes - 1 - i) % 251;
  atomicAdd(out, wrong);
}

TEST(Launch, MoreThan48KilobytesOfSharedMemory) {
  EXPECT_EQ(testing::results_of(use_it_all<100 * 1024>, 3, 256, 100 * 1024, 1)[0], 0);
  EXPECT_EQ(testing::results_of(use_it_all<227 * 1024>, 1, 1024, 227 * 1024, 1)[0], 0);
  EXPECT_EQ(testing::results_of(use_it_all<17>, 3, 32, 17, 1)[0], 0);
}

TEST(Launch, ShapesThatNoDeviceTakes) {
  Stream stream;
  const DeviceArray<unsigned> out(1);
  const auto with = [&](dim3 grid, dim3 block, std::size_t shared) {
    return error_of([&] { launch(where_am_i, grid, block, shared, stream, out.data()); });
  };
  expect_contains(with(0, 32, 0), "an empty grid or block");
  expect_contains(with(1, dim3(32, 0), 0), "an empty grid or block");
  expect_contains(with(1, 1025, 0), "the block is too large");
  expect_contains(with(1, dim3(1, 1, 65), 0), "the block is too large");
  expect_contains(with(dim3(1, 65536), 32, 0), "the grid is too large");
  expect_contains(with(1, 32, 228 * 1024), "at most 232448 bytes of shared memory");
  expect_contains(with(1, 1025, 0), "launch of where_am_i with grid (1,1,1), block (1025,1,1), 0 bytes");
  expect_contains(with(1, 1025, 0), "launch_test.cu");
  expect_contains(error_of([&] { launch(where_am_i, std::int64_t{1} << 31, 32, 0, stream, out.data()); }), "a grid of 2147483648 blocks");
  expect_contains(error_of([&] { launch(where_am_i, -1, 32, 0, stream, out.data()); }), "a grid of -1 blocks");
}

TEST(Launch, TheDefaultStreamIsRefused) {
  const DeviceArray<unsigned> out(32);
  expect_contains(error_of([&] { launch(where_am_i, 1, 32, 0, nullptr, out.data()); }), "default stream");
}

TEST(Launch, KernelsHaveNames) {
  EXPECT_EQ(simt::name_of_kernel(reinterpret_cast<const void*>(&where_am_i)), "where_am_i");
  void (*templated)(double*, const double*, std::int64_t, Options) = scale<double, 2>;
  EXPECT_EQ(simt::name_of_kernel(reinterpret_cast<const void*>(templated)), "scale<double, 2>");
  int on_the_stack = 0;
  expect_contains(simt::name_of_kernel(&on_the_stack), "kernel at 0x");
}

__global__ void launches_again(unsigned* out, cudaStream_t stream) { launch(where_am_i, 1, 1, 0, stream, out); }
TEST(Launch, NotFromInsideAKernel) {
  const simt::ScheduleScope immediate({});
  Stream stream;
  const DeviceArray<unsigned> out(1);
  expect_contains(error_of([&] { launch(launches_again, 1, 1, 0, stream, out.data(), stream); }), "from inside a kernel");
}

__global__ void throws(int* out, int block) {
  if (static_cast<int>(blockIdx.x) == block && threadIdx.x == 33) throw std::out_of_range("thrown by a kernel");
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = 1;
}

TEST(Launch, ExceptionsOfAnyBlockComeOut) {
  Stream stream;
  const DeviceArray<int> out(100 * 64);
  for (const int threads : {1, 4}) {
    const simt::ScheduleScope scope({.os_threads = threads});
    for (const int block : {0, 57, 99}) {
      EXPECT_THROW(launch(throws, 100, 64, 0, stream, out.data(), block), std::out_of_range);
    }
    launch(throws, 100, 64, 0, stream, out.data(), -1);
    EXPECT_EQ(out.host(), std::vector<int>(100 * 64, 1));
  }
}

/// Each block takes a number as it starts, each lane as it passes.
__global__ void take_numbers(int* out, int* counter) {
  if (threadIdx.x == 0) out[blockIdx.x] = atomicAdd(counter, 1);
}
__global__ void take_numbers_in_a_warp(int* out, int* counter) { out[threadIdx.x] = atomicAdd(counter, 1); }

std::vector<int> numbers(void (*kernel)(int*, int*), int blocks, int threads, int size) {
  Stream stream;
  const DeviceArray<int> out(static_cast<std::size_t>(size)), counter(1);
  launch(kernel, blocks, threads, 0, stream, out.data(), counter.data());
  return out.host();
}

TEST(Schedule, BlocksInTheOrderAskedFor) {
  const auto blocks_in = [](simt::Order order, std::uint64_t seed) {
    const simt::ScheduleScope scope({.blocks = order, .seed = seed, .os_threads = 1});
    return numbers(take_numbers, 37, 32, 37);
  };
  std::vector<int> forward(37);
  std::iota(forward.begin(), forward.end(), 0);
  EXPECT_EQ(blocks_in(simt::Order::kForward, 1), forward);
  EXPECT_EQ(blocks_in(simt::Order::kReverse, 1), std::vector<int>(forward.rbegin(), forward.rend()));
  const auto shuffled = blocks_in(simt::Order::kShuffled, 1);
  EXPECT_NE(shuffled, forward);
  EXPECT_NE(shuffled, blocks_in(simt::Order::kShuffled, 2));
  EXPECT_EQ(shuffled, blocks_in(simt::Order::kShuffled, 1));
  EXPECT_EQ(std::set<int>(shuffled.begin(), shuffled.end()).size(), 37u);
}

TEST(Schedule, LanesInTheOrderAskedFor) {
  const auto lanes_in = [](simt::Order order) {
    const simt::ScheduleScope scope({.lanes = order});
    return numbers(take_numbers_in_a_warp, 1, 64, 64);
  };
  std::vector<int> forward(64);
  std::iota(forward.begin(), forward.end(), 0);
  EXPECT_EQ(lanes_in(simt::Order::kForward), forward);
  EXPECT_EQ(lanes_in(simt::Order::kReverse), std::vector<int>(forward.rbegin(), forward.rend()));
  const auto shuffled = lanes_in(simt::Order::kShuffled);
  EXPECT_NE(shuffled, forward);
  EXPECT_EQ(std::set<int>(shuffled.begin(), shuffled.end()).size(), 64u);
}

TEST(Schedule, EveryBlockOnceForEveryCount) {
  for (const simt::Order order : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kShuffled}) {
    for (std::uint64_t count = 1; count < 200; ++count) {
      const simt::BlockOrder blocks({.blocks = order, .seed = count}, count);
      std::set<std::uint64_t> seen;
      for (std::uint64_t i = 0; i < count; ++i) seen.insert(blocks[i]);
      ASSERT_EQ(seen.size(), count);
      ASSERT_EQ(*seen.rbegin(), count - 1);
    }
  }
}

struct Column {
  BlockScratch<float> scratch;
  float row[256];
};

/// Shuffles, shared memory and barriers whose roundings would show a changed order of additions.
__global__ void rounding_sums(float* out, int rounds) {
  auto& s = block_shared<Column>();
  float x = 1.0f / static_cast<float>(1 + thread_id() + static_cast<int>(blockIdx.x) * 256);
  for (int r = 0; r < rounds; ++r) {
    s.row[thread_id()] = x;
    __syncthreads();
    x += 0.3f * s.row[(thread_id() * 7 + r) % 256];
    x += 1e-3f * block_sum(x, s.scratch);
    x += 1e-2f * warp_sum(x);
  }
  out[blockIdx.x * 256 + threadIdx.x] = x;
}

TEST(Schedule, ARightKernelHasTheSameBitsInEveryOrder) {
  const auto expected = testing::results_of(rounding_sums, 9, 256, sizeof(Column), 9 * 256, 5);
  in_all_orders([&] { EXPECT_EQ(testing::results_of(rounding_sums, 9, 256, sizeof(Column), 9 * 256, 5), expected); });
  for (const int threads : {1, 2, 5}) {
    const simt::ScheduleScope scope({.os_threads = threads});
    EXPECT_EQ(testing::results_of(rounding_sums, 9, 256, sizeof(Column), 9 * 256, 5), expected);
  }
}

/// The last one to write wins: not a right kernel.
__global__ void last_writer(int* out) { out[0] = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

TEST(Schedule, AKernelThatDependsOnTheOrderShowsIt) {
  std::set<int> winners;
  in_all_orders([&] {
    const simt::Schedule schedule = simt::current_schedule();
    const simt::ScheduleScope scope({.lanes = schedule.lanes, .blocks = schedule.blocks, .os_threads = 1});
    winners.insert(testing::results_of(last_writer, 8, 64, 0, 1)[0]);
  });
  EXPECT_GE(winners.size(), 4u);
}

TEST(Launch, FromSeveralHostThreadsAtOnce) {
  const auto expected = testing::results_of(rounding_sums, 9, 256, sizeof(Column), 9 * 256, 3);
  const simt::ScheduleScope scope({.os_threads = 3});
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) right += testing::results_of(rounding_sums, 9, 256, sizeof(Column), 9 * 256, 3) == expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 20);
}

__global__ void deep(int* out, int levels) {
  // Recursion and a big frame: each lane has a stack of its own, and keeps it over a barrier.
  struct Down {
    static int go(int level, int seed) {
      volatile int frame[64];
      for (int i = 0; i < 64; ++i) frame[i] = seed + i;
      if (level > 0) return go(level - 1, seed + 1) + frame[level % 64];
      __syncthreads();
      return frame[0];
    }
  };
  out[threadIdx.x] = Down::go(levels, static_cast<int>(threadIdx.x));
}

TEST(Launch, EveryLaneKeepsItsStack) {
  const auto out = testing::results_of(deep, 1, 96, 0, 96, 100);
  for (int t = 0; t < 96; ++t) {
    int expected = t + 100;
    for (int level = 1; level <= 100; ++level) expected += t + 100 - level + level % 64;
    EXPECT_EQ(out[static_cast<std::size_t>(t)], expected);
  }
}

// What the executor lacks must not compile.
template <class T>
concept HasAtomicAdd = requires(T* p, T x) { atomicAdd(p, x); };
template <class T>
concept HasAtomicMax = requires(T* p, T x) { atomicMax(p, x); };
template <class T>
concept HasShuffle = requires(T x) { __shfl_sync(0u, x, 0); };
struct Pair {
  int a, b;
};
static_assert(HasAtomicAdd<int> && HasAtomicAdd<unsigned> && HasAtomicAdd<unsigned long long>);
static_assert(!HasAtomicAdd<float> && !HasAtomicAdd<double> && !HasAtomicMax<float> && !HasAtomicAdd<short>);
static_assert(HasShuffle<float> && !HasShuffle<Pair> && !HasShuffle<short>);
#if defined(__shared__) || defined(__constant__)
#error "raw shared and constant memory are not part of the house"
#endif

}  // namespace
}  // namespace galrec
