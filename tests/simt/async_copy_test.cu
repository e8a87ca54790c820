// cp.async: groups, zero fill, and, on the executor, that nothing arrives before it was waited for. Builds with nvcc, too.

#include <cmath>
#include <cstring>

#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::Stream;

struct Lines {
  float at[4][32][4];
};

__global__ void copies(float* out, const float* in) {
  auto& s = block_shared<Lines>();
  const int lane = lane_id();
  for (int group = 0; group < 4; ++group) {
    // Group 3 copies 8 bytes and fills the rest with zeros, or with nothing but zeros from a null pointer.
    const int valid = group < 3 ? 16 : lane % 2 == 0 ? 8 : 0;
    cp_async16(s.at[group][lane], valid == 0 ? nullptr : in + (group * 32 + lane) * 4, valid);
    cp_async_commit();
  }
  const auto keep = [&](int group) {
    __syncwarp();
    for (int i = 0; i < 4; ++i) out[(group * 32 + lane) * 4 + i] = s.at[group][31 - lane][i];
  };
  cp_async_wait<3>();
  keep(0);
  cp_async_wait<1>();
  keep(1);
  keep(2);
  cp_async_wait<0>();
  keep(3);
}

TEST(AsyncCopy, GroupsArriveInOrderAndTheRestIsZero) {
  Stream stream;
  std::vector<float> values;
  for (int i = 0; i < 512; ++i) values.push_back(static_cast<float>(i + 1));
  const DeviceArray<float> in(values), out(512);
  launch(copies, 1, 32, sizeof(Lines), stream, out.data(), in.data());
  const auto got = out.host();
  for (int group = 0; group < 4; ++group) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const int from = 31 - lane, at = (group * 32 + from) * 4 + i;
        const bool valid = group < 3 || (from % 2 == 0 && i < 2);
        EXPECT_EQ(got[static_cast<std::size_t>((group * 32 + lane) * 4 + i)], valid ? static_cast<float>(at + 1) : 0.0f);
      }
    }
  }
}

#if !defined(__CUDACC__)

__global__ void reads_too_early(float* out, const float* in, int groups_left) {
  auto& s = block_shared<Lines>();
  const int lane = lane_id();
  s.at[0][lane][0] = 5.0f;
  for (int group = 0; group < 2; ++group) {
    cp_async16(s.at[group][lane], in + lane * 4);
    cp_async_commit();
  }
  if (groups_left == 1) cp_async_wait<1>();
  if (groups_left == 2) cp_async_wait<2>();
  out[lane] = s.at[0][lane][0];
  out[32 + lane] = s.at[1][lane][0];
  cp_async_wait<0>();
}

TEST(AsyncCopy, OnTheExecutorNothingArrivesEarly) {
  Stream stream;
  const DeviceArray<float> in(128, 3.0f), out(64);
  launch(reads_too_early, 1, 32, sizeof(Lines), stream, out.data(), in.data(), 2);
  for (const float x : out.host()) EXPECT_TRUE(std::isnan(x));
  launch(reads_too_early, 1, 32, sizeof(Lines), stream, out.data(), in.data(), 1);
  const auto got = out.host();
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(got[i], 3.0f);
    EXPECT_TRUE(std::isnan(got[32 + i]));
  }
}

__global__ void source_changes(float* out, float* in) {
  auto& s = block_shared<Lines>();
  const int lane = lane_id();
  cp_async16(s.at[0][lane], in + lane * 4);
  cp_async_commit();
  in[lane * 4] = 9.0f;  // too late on some hardware, too early here
  cp_async_wait<0>();
  out[lane] = s.at[0][lane][0];
}

TEST(AsyncCopy, OnTheExecutorTheSourceIsReadLate) {
  Stream stream;
  const DeviceArray<float> in(128, 3.0f), out(32);
  launch(source_changes, 1, 32, sizeof(Lines), stream, out.data(), in.data());
  EXPECT_EQ(out.host(), std::vector<float>(32, 9.0f));
}

__global__ void many_stages(float* out, const float* in, int stages) {
  auto& s = block_shared<Lines>();
  const int lane = lane_id();
  float sum = 0.0f;
  for (int stage = 0; stage < stages + 2; ++stage) {
    if (stage < stages) cp_async16(s.at[stage % 3][lane], in + stage % 4 * 32 * 4 + lane * 4);
    cp_async_commit();
    if (stage < 2) continue;
    cp_async_wait<2>();
    sum += s.at[(stage - 2) % 3][lane][1];
  }
  cp_async_wait<0>();
  out[lane] = sum;
}

TEST(AsyncCopy, PipelineOfThreeStages) {
  Stream stream;
  std::vector<float> values(4 * 128);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const DeviceArray<float> in(values), out(32);
  launch(many_stages, 1, 32, sizeof(Lines), stream, out.data(), in.data(), 1000);
  const auto got = out.host();
  for (std::size_t lane = 0; lane < 32; ++lane) {
    float sum = 0.0f;
    for (std::size_t stage = 0; stage < 1000; ++stage) sum += values[stage % 4 * 128 + lane * 4 + 1];
    EXPECT_EQ(got[lane], sum);
  }
}

#endif

}  // namespace
}  // namespace galrec
