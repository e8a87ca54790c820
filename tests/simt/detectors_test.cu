// Bugs that hardware may hide, planted one by one; the executor must report each of them.

#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "kernels/simt/sanitizers.h"
#include "tests/simt/device_array.h"
#include "tests/simt/expect_error.h"
#include "tests/support/expect_error.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::expect_error;
using testing::in_all_orders;
using testing::Stream;

constexpr unsigned kAll = 0xffffffffu;

struct Floats {
  float at[64];
};

class Detectors : public ::testing::Test {
 protected:
  template <class Shared = Floats>
  auto run(void (*kernel)(float*), int threads = 64, std::size_t shared = sizeof(Shared)) {
    return [this, kernel, threads, shared] { launch(kernel, 1, threads, shared, stream_, out_.data()); };
  }
  simt::ScheduleScope immediate_{{}};
  Stream stream_;
  DeviceArray<float> out_{64};
};

__global__ void barrier_in_a_branch(float* out) {
  if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1.0f;
}
TEST_F(Detectors, BarrierThatPartOfTheBlockReaches) {
  expect_error(run(barrier_in_a_branch), {"launch of barrier_in_a_branch with grid (1,1,1), block (64,1,1)", "barrier reached by only part",
                                          "in block (0,0,0)", "warp 0 lanes 0-31: at __syncthreads", "warp 1 lanes 0-7: at __syncthreads",
                                          "detectors_test.cu", "warp 1 lanes 8-31: exited"});
}

__global__ void early_return_before_barrier(float* out) {
  if (threadIdx.x == 63) return;
  __syncthreads();
  out[threadIdx.x] = 1.0f;
}
TEST_F(Detectors, BarrierAfterAThreadHasReturned) {
  expect_error(run(early_return_before_barrier), {"barrier reached by only part", "warp 1 lane 31: exited"});
}

__global__ void two_barriers(float* out) {
  if (threadIdx.x < 32) {
    out[0] = 1.0f;
    __syncthreads();
  } else {
    out[1] = 2.0f;
    __syncthreads();
  }
}
TEST_F(Detectors, DifferentBarriers) { expect_error(run(two_barriers), {"wait at different barriers", "warp 0 lanes 0-31", "warp 1 lanes 0-31"}); }

__global__ void two_kinds_of_barrier(float* out) {
  if (threadIdx.x < 32) {
    out[threadIdx.x] = static_cast<float>(__syncthreads_count(1));
  } else {
    out[threadIdx.x] = static_cast<float>(__syncthreads_or(1));
  }
}
TEST_F(Detectors, DifferentKindsOfBarrier) { expect_error(run(two_kinds_of_barrier), {"__syncthreads_count", "__syncthreads_or"}); }

__global__ void missing_lanes(float* out) {
  float value = 1.0f;
  if (threadIdx.x % 32 < 16) value = __shfl_down_sync(kAll, value, 1);
  out[threadIdx.x] = value;
}
TEST_F(Detectors, LanesOfTheMaskThatNeverCome) { expect_error(run(missing_lanes), {"__shfl_down_sync", "mask ffffffff", "exit"}); }

__global__ void lanes_at_the_barrier(float* out) {
  if (threadIdx.x % 32 < 8) out[threadIdx.x] = static_cast<float>(__ballot_sync(kAll, 1));
  __syncthreads();
}
TEST_F(Detectors, LanesOfTheMaskThatWaitForTheBlock) {
  expect_error(run(lanes_at_the_barrier), {"__ballot_sync", "mask ffffffff", "__syncthreads"});
}

__global__ void two_shuffles(float* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(kAll, 2.0f, 1);
  }
}
TEST_F(Detectors, DifferentShuffles) { expect_error(run(two_shuffles), {"__shfl_xor_sync", "while lanes of it wait at __shfl_xor_sync"}); }

__global__ void different_masks(float* out) {
  const unsigned mask = threadIdx.x % 32 < 16 ? 0x0000ffffu : kAll;
  out[threadIdx.x] = __shfl_xor_sync(mask, 1.0f, 1);
}
TEST_F(Detectors, DifferentMasks) { expect_error(run(different_masks), {"__shfl_xor_sync", "mask ffffffff"}); }

__global__ void not_in_its_mask(float* out) { out[threadIdx.x] = static_cast<float>(__ballot_sync(0xfffffffeu, 1)); }
TEST_F(Detectors, CallerOutsideOfItsMask) { expect_error(run(not_in_its_mask), {"the calling lane is not in its own mask fffffffe"}); }

__global__ void inactive_source(float* out) {
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}
TEST_F(Detectors, ShuffleFromALaneThatDoesNotTakePart) { expect_error(run(inactive_source), {"reads lane 20, which does not take part"}); }

__global__ void odd_width(float* out) { out[threadIdx.x] = __shfl_sync(kAll, 1.0f, 0, 12); }
TEST_F(Detectors, WidthThatIsNoPowerOfTwo) { expect_error(run(odd_width), {"a shuffle of width 12"}); }

__global__ void uses_shared(float* out) {
  auto& shared = block_shared<Floats>();
  shared.at[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = shared.at[63 - threadIdx.x];
}
TEST_F(Detectors, TooLittleSharedMemory) {
  expect_error(run(uses_shared, 64, 128), {"the launch gave 128 bytes of shared memory, 256 are needed", "detectors_test.cu"});
}

__global__ void no_barrier(float* out) {
  auto& shared = block_shared<Floats>();
  shared.at[threadIdx.x] = 1.0f;
  out[threadIdx.x] = shared.at[63 - threadIdx.x];
}
TEST_F(Detectors, MissingBarrierReadsPoison) {
  in_all_orders([&] {
    run(no_barrier)();
    const auto out = out_.host();
    EXPECT_TRUE(std::any_of(out.begin(), out.end(), [](float x) { return x != x; }));
  });
  run(uses_shared)();
  EXPECT_EQ(out_.host(), std::vector<float>(64, 1.0f));
}

__global__ void no_syncwarp(float* out) {
  auto& shared = block_shared<Floats>();
  shared.at[threadIdx.x] = 1.0f;
  out[threadIdx.x] = shared.at[threadIdx.x ^ 1];
}
TEST_F(Detectors, MissingSyncwarpReadsPoison) {
  in_all_orders([&] {
    run(no_syncwarp)();
    const auto out = out_.host();
    EXPECT_TRUE(std::any_of(out.begin(), out.end(), [](float x) { return x != x; }));
  });
}

__global__ void sees_poison(float* out) {
  const auto& shared = block_shared<Floats>();
  out[threadIdx.x] = shared.at[threadIdx.x];
}
TEST_F(Detectors, SharedMemoryOfTheBlockBeforeIsNotVisible) {
  const simt::ScheduleScope one_thread({.os_threads = 1});
  run(uses_shared)();
  run(sees_poison)();
  for (const float x : out_.host()) EXPECT_TRUE(x != x);
}

__global__ void overrun(float* out) {
  auto& shared = block_shared<Floats>();
  float* behind = shared.at + 64;
  if (out[0] == 0.0f) behind[threadIdx.x == 5 ? 3 : -1] = 1.0f;
}
TEST_F(Detectors, SharedMemoryOverrun) {
  if (simt::kAddressSanitizer) GTEST_SKIP() << "AddressSanitizer stops the program itself";
  expect_error(run(overrun), {"shared memory overrun", "behind the 256"});
}

struct alignas(16) Tile {
  bfloat16 at[64][8];
};

__global__ void copy_without_wait(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(tile.at[threadIdx.x], out);
  cp_async_commit();
}
TEST_F(Detectors, CopyNeverWaitedFor) { expect_error(run<Tile>(copy_without_wait), {"cp.async copies that were never waited for", "detectors_test.cu"}); }

__global__ void copy_without_commit(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(tile.at[threadIdx.x], out);
  cp_async_wait<0>();
}
TEST_F(Detectors, CopyNeverCommitted) { expect_error(run<Tile>(copy_without_commit), {"never waited for"}); }

__global__ void copy_to_misaligned(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(&tile.at[threadIdx.x][1], out);
  cp_async_commit();
  cp_async_wait<0>();
}
TEST_F(Detectors, CopyToMisalignedAddress) { expect_error(run<Tile>(copy_to_misaligned), {"cp.async: shared address", "not a multiple of 16"}); }

__global__ void copy_from_misaligned(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(&tile.at[threadIdx.x][0], out + 1);
  cp_async_commit();
  cp_async_wait<0>();
}
TEST_F(Detectors, CopyFromMisalignedAddress) { expect_error(run<Tile>(copy_from_misaligned), {"cp.async: global address", "not a multiple of 16"}); }

__global__ void copy_outside(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(&tile.at[0][0] + 8 * (threadIdx.x + 1), out);
  cp_async_commit();
  cp_async_wait<0>();
}
TEST_F(Detectors, CopyOutsideOfSharedMemory) { expect_error(run<Tile>(copy_outside), {"not in the block's shared memory", "thread (63,0,0)"}); }

__global__ void copy_to_global(float* out) {
  cp_async16(out, out + 4);
  cp_async_commit();
  cp_async_wait<0>();
}
TEST_F(Detectors, CopyToGlobalMemory) { expect_error(run<Tile>(copy_to_global), {"not in the block's shared memory"}); }

__global__ void copy_of_17_bytes(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(&tile.at[threadIdx.x][0], out, 17);
}
TEST_F(Detectors, CopyOfTooManyBytes) { expect_error(run<Tile>(copy_of_17_bytes), {"cp.async: 17 valid bytes"}); }

__global__ void written_under_a_copy(float* out) {
  auto& tile = block_shared<Tile>();
  cp_async16(&tile.at[threadIdx.x][0], out);
  cp_async_commit();
  tile.at[threadIdx.x][3] = to_bf16(1.0f);
  cp_async_wait<0>();
}
TEST_F(Detectors, DestinationOfACopyWrittenBeforeItsWait) {
  expect_error(run<Tile>(written_under_a_copy), {"destination was written before it was waited for"});
}

__global__ void misaligned_ldmatrix(float* out) {
  auto& tile = block_shared<Tile>();
  std::uint32_t r[4];
  ldmatrix_x4(r, &tile.at[lane_id()][lane_id() == 9 ? 4 : 0]);
  out[threadIdx.x] = static_cast<float>(r[0]);
}
TEST_F(Detectors, LdmatrixFromMisalignedAddress) { expect_error(run<Tile>(misaligned_ldmatrix), {"ldmatrix", "not a multiple of 16"}); }

__global__ void ldmatrix_outside(float* out) {
  auto& tile = block_shared<Tile>();
  std::uint32_t r[4];
  ldmatrix_x4(r, &tile.at[0][0] + (lane_id() == 30 ? sizeof(Tile) / sizeof(bfloat16) : 0));
  out[threadIdx.x] = static_cast<float>(r[0]);
}
TEST_F(Detectors, LdmatrixOutsideOfSharedMemory) {
  expect_error(run<Tile>(ldmatrix_outside), {"ldmatrix: row 6 of matrix 3 is outside the block's shared memory"});
}

__global__ void ldmatrix_from_global(float* out) {
  std::uint32_t r[1];
  ldmatrix_x1(r, out);
  out[threadIdx.x] = static_cast<float>(r[0]);
}
TEST_F(Detectors, LdmatrixFromGlobalMemory) { expect_error(run(ldmatrix_from_global), {"outside the block's shared memory"}); }

__global__ void mma_in_a_branch(float* out) {
  float d[4] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  if (lane_id() != 31) mma_m16n8k16_bf16(d, a, b);
  out[threadIdx.x] = d[0];
}
TEST_F(Detectors, MmaWithoutTheWholeWarp) { expect_error(run(mma_in_a_branch), {"mma.m16n8k16.bf16", "exit"}); }

__global__ void mma_in_a_small_block(float* out) {
  float d[4] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  mma_m16n8k8_tf32(d, a, b);
  out[threadIdx.x] = d[0];
}
TEST_F(Detectors, MmaOfAPartialWarp) { expect_error(run(mma_in_a_small_block, 16), {"mma.m16n8k8.tf32: the warp has fewer than 32 lanes"}); }

__global__ void misaligned_load(float* out) { out[threadIdx.x] = load16(out + (threadIdx.x == 7 ? 2 : 4))[0]; }
TEST_F(Detectors, MisalignedLoad16) { expect_error(run(misaligned_load), {"load16", "not a multiple of 16", "thread (7,0,0)"}); }

__global__ void misaligned_store(float* out) { store16(out + threadIdx.x % 2, Pack<float>{}); }
TEST_F(Detectors, MisalignedStore16) { expect_error(run(misaligned_store), {"store16", "not a multiple of 16"}); }

__global__ void block_three_fails(float* out) {
  if (blockIdx.x == 3 && threadIdx.x == 1) out[0] = load16(out + 1)[0];
}
TEST_F(Detectors, TheBlockIsNamed) {
  expect_error([&] { launch(block_three_fails, 70, 64, 0, stream_, out_.data()); }, {"in block (3,0,0), thread (1,0,0)"});
}

TEST_F(Detectors, TheNextLaunchRunsAsIfNothingHadHappened) {
  for (int i = 0; i < 50; ++i) {
    EXPECT_THROW(run(barrier_in_a_branch)(), Error);
    EXPECT_THROW(run<Tile>(copy_without_wait)(), Error);
    run(uses_shared)();
    EXPECT_EQ(out_.host(), std::vector<float>(64, 1.0f));
  }
}

}  // namespace
}  // namespace galrec
