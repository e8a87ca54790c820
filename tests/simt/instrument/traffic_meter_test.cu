// Access patterns whose cost is known by hand.

#include <gtest/gtest.h>

#include "kernels/common/buffer.h"
#include "kernels/common/context.h"
#include "kernels/common/launch.h"
#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "kernels/simt/instrument/instrument.h"

namespace galrec::simt {
namespace {

__global__ void copy_vectors(float* out, const float* in) {
  store16(out + 4 * threadIdx.x, load16(in + 4 * threadIdx.x));
}
__global__ void copy_strided(float* out, const float* in, int stride) {
  out[threadIdx.x] = in[threadIdx.x * stride];
}
/// Every lane reads the element twice, in a loop: two requests of one instruction.
__global__ void read_twice(float* out, const float* in) {
  float sum = 0;
#pragma GCC unroll 1
  for (int i = 0; i < 2; ++i) sum += in[threadIdx.x + 32 * i];
  out[threadIdx.x] = sum;
}

struct Words {
  float value[32 * 33];
};
__global__ void shared_stride(float* out, int stride) {
  auto& s = block_shared<Words>();
  s.value[threadIdx.x * stride] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = s.value[threadIdx.x];
}

struct Tile {
  bfloat16 value[8 * 128];
};
__global__ void matrix_pitch(std::uint32_t* out, int pitch) {
  auto& s = block_shared<Tile>();
  for (int i = static_cast<int>(threadIdx.x); i < 8 * 128; i += 32) s.value[i] = to_bf16(0.0f);
  __syncthreads();
  std::uint32_t r[1];
  ldmatrix_x1<MatrixOrder::kRow>(r, s.value + threadIdx.x % 8 * pitch);
  out[threadIdx.x] = r[0];
}
__global__ void one_product(float* out) {
  float d[4] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  galrec::mma_m16n8k16_bf16(d, a, b);
  out[threadIdx.x] = d[0];
}

class Traffic : public testing::Test {
 protected:
  void SetUp() override {
    set_watch(Watch::kTraffic);
    clear_metered_kernels();
  }
  void TearDown() override { set_watch(Watch::kRaces); }

  template <class Kernel, class... Arguments>
  KernelTraffic run(Kernel kernel, int blocks, int threads, std::size_t shared, Arguments... arguments) {
    clear_metered_kernels();
    launch(kernel, blocks, threads, shared, ctx_.stream(), arguments...);
    EXPECT_EQ(metered_kernels().size(), 1u);
    return metered_kernels().begin()->second;
  }

  CudaContext ctx_;
  Buffer<float> in_ = Buffer<float>::zeros(4096, ctx_.memory());
  Buffer<float> out_ = Buffer<float>::zeros(4096, ctx_.memory());
};

TEST_F(Traffic, VectorsUseEverySectorWhole) {
  const auto k = run(copy_vectors, 1, 64, 0, out_.data(), in_.data());
  EXPECT_NE(k.name.find("copy_vectors"), std::string::npos) << k.name;
  EXPECT_EQ(k.load.requests, 2u);
  EXPECT_EQ(k.load.sectors, 32u);  // 64 threads of 16 bytes
  EXPECT_EQ(k.load.used_bytes, 1024u);
  EXPECT_EQ(k.load.unique_sectors, 32u);
  EXPECT_EQ(k.store.sectors, 32u);
  EXPECT_EQ(k.threads, 64u);
}

TEST_F(Traffic, StridesWasteSectors) {
  const auto k = run(copy_strided, 1, 32, 0, out_.data(), in_.data(), 8);
  EXPECT_EQ(k.load.sectors, 32u);
  EXPECT_EQ(k.load.used_bytes, 128u);
  EXPECT_EQ(k.store.sectors, 4u);
  const auto same = run(copy_strided, 1, 32, 0, out_.data(), in_.data(), 0);
  EXPECT_EQ(same.load.sectors, 1u);  // all lanes want one word
  EXPECT_EQ(same.load.used_bytes, 4u);
}

TEST_F(Traffic, TurnsOfALoopAreRequests) {
  const auto k = run(read_twice, 1, 32, 0, out_.data(), in_.data());
  EXPECT_EQ(k.load.requests, 2u);
  EXPECT_EQ(k.load.sectors, 8u);
}

TEST_F(Traffic, UniqueSectorsAreCountedPerLaunch) {
  const auto k = run(copy_strided, 3, 32, 0, out_.data(), in_.data(), 1);
  EXPECT_EQ(k.load.sectors, 12u);
  EXPECT_EQ(k.load.unique_sectors, 4u);
}

TEST_F(Traffic, BankConflicts) {
  EXPECT_EQ(run(shared_stride, 1, 32, sizeof(Words), out_.data(), 1).shared_store.passes, 1u);
  EXPECT_EQ(run(shared_stride, 1, 32, sizeof(Words), out_.data(), 2).shared_store.passes, 2u);
  EXPECT_EQ(run(shared_stride, 1, 32, sizeof(Words), out_.data(), 33).shared_store.passes, 1u);
  const auto worst = run(shared_stride, 1, 32, sizeof(Words), out_.data(), 32);
  EXPECT_EQ(worst.shared_store.passes, 32u);
  EXPECT_EQ(worst.shared_store.least_passes, 1u);
  EXPECT_EQ(worst.barriers, 1u);
}

TEST_F(Traffic, MatrixLoadsConflictByPitch) {
  auto* out = reinterpret_cast<std::uint32_t*>(out_.data());
  EXPECT_EQ(run(matrix_pitch, 1, 32, sizeof(Tile), out, 64).ldmatrix.passes,
            8u);  // 128 bytes: every row in the same banks
  EXPECT_EQ(run(matrix_pitch, 1, 32, sizeof(Tile), out, 72).ldmatrix.passes, 1u);
  EXPECT_EQ(run(matrix_pitch, 1, 32, sizeof(Tile), out, 8).ldmatrix.passes, 1u);
}

TEST_F(Traffic, ProductsCountTheirFlops) {
  EXPECT_EQ(run(one_product, 1, 32, 0, out_.data()).mma_flops, 4096u);
}

}  // namespace
}  // namespace galrec::simt
