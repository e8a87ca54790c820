// What observers are told.

#include <map>

#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/schedule.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::Stream;

class Counter : public simt::Observer {
 public:
  Counter() : before_(simt::set_observer(this)) {}
  ~Counter() override { simt::set_observer(before_); }

  void launch_begins(const simt::Launch& launch) override {
    ++count["launch_begins"];
    kernel = simt::name_of_kernel(launch.kernel);
    line = launch.where.line;
  }
  void launch_ends(const simt::Launch&) override { ++count["launch_ends"]; }
  void block_begins(const simt::Block& block) override {
    ++count["block_begins"];
    shared_bytes = block.shared_bytes;
  }
  void block_ends(const simt::Block&) override { ++count["block_ends"]; }
  void lane_ends(const simt::Lane&) override { ++count["lane_ends"]; }
  void block_barrier(const simt::Block&, Place) override { ++count["block_barrier"]; }
  void warp_operation(const simt::Warp&, const char* name, unsigned mask, Place) override {
    ++count[name];
    masks |= mask;
  }
  void ldmatrix(const simt::Warp& warp, const void* const* rows, int matrices, Place) override {
    count["rows"] += matrices * 8;
    for (int i = 0; i < matrices * 8; ++i) {
      const auto at = static_cast<const std::byte*>(rows[i]) - warp.block->shared;
      EXPECT_EQ(at, i * 16);
    }
  }
  void mma(const simt::Warp&, simt::MatrixShape shape, Place) override {
    ++count[shape == simt::MatrixShape::kM16N8K16Bf16 ? "mma bf16" : "mma tf32"];
  }
  void copy_begins(const simt::Lane&, const simt::AsyncCopy& copy) override { count["bytes asked"] += copy.valid; }
  void copy_ends(const simt::Lane&, const simt::AsyncCopy& copy) override { count["bytes filled"] += copy.bytes; }

  std::map<std::string, int> count;
  std::string kernel;
  unsigned line = 0, masks = 0;
  std::size_t shared_bytes = 0;

 private:
  simt::Observer* before_;
};

struct Tile {
  bfloat16 at[32][8];
};

__global__ void a_bit_of_everything(float* out) {
  auto& tile = block_shared<Tile>();
  const int lane = lane_id();
  cp_async16(tile.at[lane], out, lane % 2 * 16);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  std::uint32_t a[4], b[2];
  ldmatrix_x4(a, tile.at[lane]);
  ldmatrix_x2<MatrixOrder::kTransposed>(b, tile.at[lane % 16]);
  float d[4] = {};
  mma_m16n8k16_bf16(d, a, b);
  mma_m16n8k16_bf16(d, a, b);
  mma_m16n8k8_tf32(d, a, b);
  out[threadIdx.x] = warp_sum(d[0]);
  __syncwarp();
}

TEST(Observer, SeesEveryEvent) {
  const simt::ScheduleScope immediate({});
  Stream stream;
  const DeviceArray<float> out(64, 1.0f);
  Counter seen;
  launch(a_bit_of_everything, 3, 32, sizeof(Tile), stream, out.data());
  EXPECT_EQ(seen.kernel, "a_bit_of_everything");
  EXPECT_EQ(seen.line, static_cast<unsigned>(__LINE__ - 2));
  EXPECT_EQ(seen.shared_bytes, sizeof(Tile));
  EXPECT_EQ(seen.masks, 0xffffffffu);
  const std::map<std::string, int> expected{
      {"launch_begins", 1},       {"launch_ends", 1},        {"block_begins", 3},           {"block_ends", 3},
      {"lane_ends", 96},          {"block_barrier", 3},      {"ldmatrix", 3},               {"ldmatrix.trans", 3},
      {"rows", 3 * (32 + 16)},    {"mma bf16", 6},           {"mma tf32", 3},               {"mma.m16n8k16.bf16", 6},
      {"mma.m16n8k8.tf32", 3},    {"__shfl_xor_sync", 15},   {"__syncwarp", 3},             {"bytes asked", 3 * 16 * 16},
      {"bytes filled", 3 * 32 * 16}};
  EXPECT_EQ(seen.count, expected);
}

__global__ void fails(float* out) { out[threadIdx.x] = load16(out + 1)[0]; }

TEST(Observer, IsToldOfTheEndAfterAnError) {
  const simt::ScheduleScope immediate({});
  Stream stream;
  const DeviceArray<float> out(64);
  Counter seen;
  EXPECT_THROW(launch(fails, 1, 32, 0, stream, out.data()), Error);
  EXPECT_EQ(seen.count["launch_begins"], 1);
  EXPECT_EQ(seen.count["launch_ends"], 1);
  EXPECT_EQ(seen.count["block_ends"], 0);
}

}  // namespace
}  // namespace galrec
