// Shuffles, votes, matches, reductions and barriers against what the CUDA programming guide says. Builds with nvcc, too.

#include "kernels/common/warp.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

using testing::results_of;

constexpr unsigned kAll = 0xffffffffu;

template <class T>
__global__ void shuffles(T* out) {
  const int lane = lane_id();
  const T mine = static_cast<T>(100 + lane);
  out[lane] = __shfl_sync(kAll, mine, 5);
  out[32 + lane] = __shfl_sync(kAll, mine, lane + 1);      // wraps
  out[64 + lane] = __shfl_sync(kAll, mine, 3, 8);          // within groups of 8
  out[96 + lane] = __shfl_up_sync(kAll, mine, 3);
  out[128 + lane] = __shfl_up_sync(kAll, mine, 3, 8);
  out[160 + lane] = __shfl_down_sync(kAll, mine, 5);
  out[192 + lane] = __shfl_down_sync(kAll, mine, 5, 16);
  out[224 + lane] = __shfl_xor_sync(kAll, mine, 9);
  out[256 + lane] = __shfl_xor_sync(kAll, mine, 12, 8);    // reaches the group before, or stays
}

template <class T>
void check_shuffles() {
  const auto out = results_of(shuffles<T>, 1, 32, 0, 288);
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 8 * 8;
    const int sources[] = {5,
                           (lane + 1) % 32,
                           group + 3,
                           lane >= 3 ? lane - 3 : lane,
                           lane % 8 >= 3 ? lane - 3 : lane,
                           lane + 5 < 32 ? lane + 5 : lane,
                           lane % 16 + 5 < 16 ? lane + 5 : lane,
                           lane ^ 9,
                           (lane ^ 12) / 8 > lane / 8 ? lane : lane ^ 12};
    for (int kind = 0; kind < 9; ++kind) {
      EXPECT_EQ(out[static_cast<std::size_t>(kind * 32 + lane)], static_cast<T>(100 + sources[kind])) << "kind " << kind << " lane " << lane;
    }
  }
}

TEST(Collectives, ShufflesOfEveryType) {
  check_shuffles<int>();
  check_shuffles<unsigned>();
  check_shuffles<float>();
  check_shuffles<long long>();
  check_shuffles<unsigned long long>();
  check_shuffles<double>();
}

__global__ void halves(int* out) {
  // Two halves of a warp on different paths, each with its own mask.
  const int lane = lane_id();
  if (lane < 16) {
    out[lane] = __shfl_xor_sync(0x0000ffffu, lane, 15);
  } else {
    int sum = lane;
    for (int offset = 8; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffff0000u, sum, offset);
    out[lane] = sum;
  }
}

TEST(Collectives, PartsOfAWarpMeetByThemselves) {
  const auto out = results_of(halves, 1, 32, 0, 32);
  for (int lane = 0; lane < 16; ++lane) EXPECT_EQ(out[static_cast<std::size_t>(lane)], 15 - lane);
  for (int lane = 16; lane < 32; ++lane) EXPECT_EQ(out[static_cast<std::size_t>(lane)], (16 + 31) * 16 / 2);
}

__global__ void votes(unsigned* out) {
  const int lane = lane_id();
  out[lane] = __ballot_sync(kAll, lane % 3 == 0 ? 7 : 0);
  out[32 + lane] = static_cast<unsigned>(__any_sync(kAll, lane == 31) != 0);
  out[64 + lane] = static_cast<unsigned>(__any_sync(kAll, 0) != 0);
  out[96 + lane] = static_cast<unsigned>(__all_sync(kAll, 2) != 0);
  out[128 + lane] = static_cast<unsigned>(__all_sync(kAll, lane != 13) != 0);
  out[160 + lane] = __match_any_sync(kAll, lane / 5);
  out[192 + lane] = __match_any_sync(kAll, static_cast<unsigned long long>(lane % 2) << 40);
  if (lane < 4) out[224 + lane] = __ballot_sync(0xfu, lane != 2);
}

TEST(Collectives, Votes) {
  const auto out = results_of(votes, 1, 32, 0, 256);
  unsigned thirds = 0;
  for (unsigned lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
  for (unsigned lane = 0; lane < 32; ++lane) {
    unsigned fives = 0;
    for (unsigned other = 0; other < 32; ++other) fives |= static_cast<unsigned>(other / 5 == lane / 5) << other;
    EXPECT_EQ(out[lane], thirds);
    EXPECT_EQ(out[32 + lane], 1u);
    EXPECT_EQ(out[64 + lane], 0u);
    EXPECT_EQ(out[96 + lane], 1u);
    EXPECT_EQ(out[128 + lane], 0u);
    EXPECT_EQ(out[160 + lane], fives);
    EXPECT_EQ(out[192 + lane], lane % 2 == 0 ? 0x55555555u : 0xaaaaaaaau);
    if (lane < 4) {
      EXPECT_EQ(out[224 + lane], 0b1011u);
    }
  }
}

__global__ void reductions(int* out) {
  const int lane = lane_id();
  const unsigned bits = 1u << lane;
  out[lane] = __reduce_add_sync(kAll, lane - 3);
  out[32 + lane] = __reduce_min_sync(kAll, lane == 9 ? -50 : lane);
  out[64 + lane] = __reduce_max_sync(kAll, lane == 9 ? 50 : -lane);
  out[96 + lane] = static_cast<int>(__reduce_or_sync(kAll, bits & 0xf0f0u));
  out[128 + lane] = static_cast<int>(__reduce_and_sync(kAll, ~bits | 1u));
  out[160 + lane] = static_cast<int>(__reduce_xor_sync(kAll, 3u << lane));
  out[192 + lane] = static_cast<int>(__reduce_max_sync(kAll, 0x80000000u + static_cast<unsigned>(lane)) & 0xffu);
  if (lane % 2 == 1) out[224 + lane] = __reduce_add_sync(0xaaaaaaaau, lane);
}

TEST(Collectives, Reductions) {
  const auto out = results_of(reductions, 1, 32, 0, 256);
  for (std::size_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane], 31 * 16 - 96);
    EXPECT_EQ(out[32 + lane], -50);
    EXPECT_EQ(out[64 + lane], 50);
    EXPECT_EQ(out[96 + lane], 0xf0f0);
    EXPECT_EQ(out[128 + lane], 1);
    EXPECT_EQ(out[160 + lane], 1);  // 3 << 31 loses a bit: all neighbours cancel but the lowest
    EXPECT_EQ(out[192 + lane], 31);
    if (lane % 2 == 1) {
      EXPECT_EQ(out[224 + lane], 256);
    }
  }
}

struct Numbers {
  int at[96];
};

__global__ void barriers(int* out) {
  auto& shared = block_shared<Numbers>();
  const int i = thread_id();
  shared.at[i] = i;
  __syncthreads();
  out[i] = shared.at[95 - i];
  out[96 + i] = __syncthreads_count(i % 4 == 1);
  out[192 + i] = static_cast<int>(__syncthreads_and(i < 95) != 0) * 2 + static_cast<int>(__syncthreads_and(1) != 0);
  out[288 + i] = static_cast<int>(__syncthreads_or(i == 95) != 0) * 2 + static_cast<int>(__syncthreads_or(0) != 0);
  out[384 + i] = __syncthreads_count(1);
}

TEST(Collectives, Barriers) {
  for (const dim3 block : {dim3(96), dim3(8, 4, 3), dim3(2, 48)}) {
    const auto out = results_of(barriers, 1, block, sizeof(Numbers), 480);
    for (int i = 0; i < 96; ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_EQ(out[at], 95 - i);
      EXPECT_EQ(out[96 + at], 24);
      EXPECT_EQ(out[192 + at], 1);
      EXPECT_EQ(out[288 + at], 2);
      EXPECT_EQ(out[384 + at], 96);
    }
  }
}

__global__ void syncwarp_exchange(int* out) {
  auto& shared = block_shared<Numbers>();
  const int i = thread_id();
  shared.at[i] = i * i;
  __syncwarp();
  out[i] = shared.at[i ^ 1];
  __syncwarp();
  if (lane_id() < 16) {
    shared.at[i] = -i;
    __syncwarp(0xffffu);
    out[i] += shared.at[i ^ 1];
  }
}

TEST(Collectives, SyncwarpOrdersSharedMemoryOfAWarp) {
  const auto out = results_of(syncwarp_exchange, 1, 96, sizeof(Numbers), 96);
  for (int i = 0; i < 96; ++i) {
    const int other = i ^ 1;
    EXPECT_EQ(out[static_cast<std::size_t>(i)], other * other - (i % 32 < 16 ? other : 0));
  }
}

__global__ void partial_warp(int* out) {
  // A block of 40: the second warp has eight lanes, and the full mask means those.
  out[threadIdx.x] = __shfl_xor_sync(kAll, static_cast<int>(threadIdx.x), 1) + 1000 * __popc(__ballot_sync(kAll, 1));
}

TEST(Collectives, PartialWarps) {
  const auto out = results_of(partial_warp, 1, 40, 0, 40);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], (i ^ 1) + 1000 * (i < 32 ? 32 : 8));
}

struct Sums {
  BlockScratch<float> sum;
};

__global__ void helpers(float* out) {
  auto& shared = block_shared<Sums>();
  const int i = thread_id();
  const float x = static_cast<float>(i % 7) - 2.0f;
  out[i] = warp_sum(x);
  out[256 + i] = warp_max<8>(x);
  out[512 + i] = block_sum(x, shared.sum);
  out[768 + i] = block_max(static_cast<float>(-i), shared.sum);
  out[1024 + i] = warp_sum<4>(1.0f);
}

TEST(Collectives, WarpAndBlockHelpers) {
  const auto value = [](int i) { return static_cast<float>(i % 7) - 2.0f; };
  const auto out = results_of(helpers, 1, 256, sizeof(Sums), 1280);
  float total = 0.0f;
  for (int i = 0; i < 256; ++i) total += value(i);
  for (int i = 0; i < 256; ++i) {
    float warp = 0.0f, largest = -10.0f;
    for (int j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) warp += value(j);
    for (int j = i / 8 * 8; j < i / 8 * 8 + 8; ++j) largest = std::max(largest, value(j));
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(out[at], warp);
    EXPECT_EQ(out[256 + at], largest);
    EXPECT_EQ(out[512 + at], total);
    EXPECT_EQ(out[768 + at], 0.0f);
    EXPECT_EQ(out[1024 + at], 4.0f);
  }
}

}  // namespace
}  // namespace galrec
