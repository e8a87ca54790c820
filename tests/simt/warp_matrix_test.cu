// Which lane holds which element of mma's and ldmatrix's fragments: every element has a value of its own, and the reference
// works from whole matrices. Builds with nvcc, too: then it checks the hardware, hence the executor's reading of it.

#include <cmath>

#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::Stream;

// Small integers: products and sums are exact, so the result shows layouts and nothing else.
float a_element(int m, int k) { return static_cast<float>((m * 16 + k) % 61 - 30); }
float b_element(int k, int n) { return static_cast<float>((k * 8 + n) % 53 - 26); }
float d_element(int m, int n) { return static_cast<float>(1000 * m + n); }

template <int K>
std::vector<float> product() {
  std::vector<float> d(16 * 8);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      double sum = d_element(m, n);
      for (int k = 0; k < K; ++k) sum += static_cast<double>(a_element(m, k)) * b_element(k, n);
      d[static_cast<std::size_t>(m * 8 + n)] = static_cast<float>(sum);
    }
  }
  return d;
}

template <class F>
std::vector<float> matrix(int rows, int cols, F element) {
  std::vector<float> values;
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) values.push_back(element(r, c));
  }
  return values;
}

/// Fragments made by hand from the layouts in kernels/common/mma.h.
__global__ void mma_bf16_by_hand(float* d, const float* a, const float* b) {
  const int g = lane_id() / 4, t = lane_id() % 4;
  const auto at = [&](int m, int k) { return pack_bf16x2(a[m * 16 + k], a[m * 16 + k + 1]); };
  const auto bt = [&](int k, int n) { return pack_bf16x2(b[k * 8 + n], b[(k + 1) * 8 + n]); };
  const std::uint32_t fa[4] = {at(g, 2 * t), at(g + 8, 2 * t), at(g, 2 * t + 8), at(g + 8, 2 * t + 8)};
  const std::uint32_t fb[2] = {bt(2 * t, g), bt(2 * t + 8, g)};
  float fd[4] = {d[g * 8 + 2 * t], d[g * 8 + 2 * t + 1], d[(g + 8) * 8 + 2 * t], d[(g + 8) * 8 + 2 * t + 1]};
  mma_m16n8k16_bf16(fd, fa, fb);
  d[g * 8 + 2 * t] = fd[0];
  d[g * 8 + 2 * t + 1] = fd[1];
  d[(g + 8) * 8 + 2 * t] = fd[2];
  d[(g + 8) * 8 + 2 * t + 1] = fd[3];
}

__global__ void mma_tf32_by_hand(float* d, const float* a, const float* b) {
  const int g = lane_id() / 4, t = lane_id() % 4;
  const auto at = [&](int m, int k) { return to_tf32(a[m * 16 + k]); };
  const std::uint32_t fa[4] = {at(g, t), at(g + 8, t), at(g, t + 4), at(g + 8, t + 4)};
  const std::uint32_t fb[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float fd[4] = {d[g * 8 + 2 * t], d[g * 8 + 2 * t + 1], d[(g + 8) * 8 + 2 * t], d[(g + 8) * 8 + 2 * t + 1]};
  mma_m16n8k8_tf32(fd, fa, fb);
  d[g * 8 + 2 * t] = fd[0];
  d[g * 8 + 2 * t + 1] = fd[1];
  d[(g + 8) * 8 + 2 * t] = fd[2];
  d[(g + 8) * 8 + 2 * t + 1] = fd[3];
}

TEST(WarpMatrix, MmaBf16LayoutsAsDocumented) {
  Stream stream;
  const DeviceArray<float> a(matrix(16, 16, a_element)), b(matrix(16, 8, b_element)), d(matrix(16, 8, d_element));
  launch(mma_bf16_by_hand, 1, 32, 0, stream, d.data(), a.data(), b.data());
  EXPECT_EQ(d.host(), product<16>());
}

TEST(WarpMatrix, MmaTf32LayoutsAsDocumented) {
  Stream stream;
  const DeviceArray<float> a(matrix(16, 16, a_element)), b(matrix(16, 8, b_element)), d(matrix(16, 8, d_element));
  launch(mma_tf32_by_hand, 1, 32, 0, stream, d.data(), a.data(), b.data());
  EXPECT_EQ(d.host(), product<8>());
}

struct Tiles {
  std::uint16_t at[32][40];  // rows of 80 bytes: aligned to 16, not dense
};

/// Registers r[0..3] of every lane for x4, x2 and x1, both orders; row i of the stack of matrices is row i of the tile.
template <MatrixOrder Order>
__global__ void read_fragments(std::uint32_t* out) {
  auto& tile = block_shared<Tiles>();
  const int lane = lane_id();
  for (int c = 0; c < 40; ++c) tile.at[lane][c] = static_cast<std::uint16_t>(lane * 256 + c);
  __syncwarp();
  std::uint32_t r4[4], r2[2], r1[1];
  ldmatrix_x4<Order>(r4, &tile.at[lane][8]);
  ldmatrix_x2<Order>(r2, &tile.at[lane % 16][16]);
  ldmatrix_x1<Order>(r1, &tile.at[lane % 8][24]);
  for (int i = 0; i < 4; ++i) out[lane * 7 + i] = r4[i];
  for (int i = 0; i < 2; ++i) out[lane * 7 + 4 + i] = r2[i];
  out[lane * 7 + 6] = r1[0];
}

template <MatrixOrder Order>
void check_fragments() {
  const auto out = testing::results_of(read_fragments<Order>, 1, 32, sizeof(Tiles), 32 * 7);
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned i = 0; i < 7; ++i) {
      const unsigned matrix = i < 4 ? i : i < 6 ? i - 4 : 0, first_column = i < 4 ? 8 : i < 6 ? 16 : 24;
      const auto element = [&](unsigned row, unsigned column) { return (matrix * 8 + row) * 256 + first_column + column; };
      const unsigned low = Order == MatrixOrder::kRow ? element(g, 2 * t) : element(2 * t, g);
      const unsigned high = Order == MatrixOrder::kRow ? element(g, 2 * t + 1) : element(2 * t + 1, g);
      EXPECT_EQ(out[lane * 7 + i], high << 16 | low) << "lane " << lane << " register " << i;
    }
  }
}

TEST(WarpMatrix, LdmatrixRows) { check_fragments<MatrixOrder::kRow>(); }
TEST(WarpMatrix, LdmatrixTransposed) { check_fragments<MatrixOrder::kTransposed>(); }

struct Operands {
  bfloat16 a[16][24];
  bfloat16 b_by_n[16][24];  // [n][k], two tiles of 8 columns
  bfloat16 b_by_k[16][24];  // [k][n]
};

/// The four recipes of kernels/common/mma.h for reading operands of a product, each into its own 16 x 16 result.
__global__ void recipes(float* out, const float* a, const float* b) {
  auto& s = block_shared<Operands>();
  const int lane = lane_id();
  for (int i = lane; i < 256; i += 32) {
    s.a[i / 16][i % 16] = to_bf16(a[i]);
    s.b_by_n[i % 16][i / 16] = to_bf16(b[i]);
    s.b_by_k[i / 16][i % 16] = to_bf16(b[i]);
  }
  __syncwarp();
  std::uint32_t fa[4], b2[2], b4[4];
  ldmatrix_x4(fa, &s.a[lane % 16][lane / 16 * 8]);
  const auto keep = [&](int recipe, int tile, const std::uint32_t(&fb)[2]) {
    float d[4] = {};
    mma_m16n8k16_bf16(d, fa, fb);
    for (int i = 0; i < 4; ++i) out[recipe * 256 + (lane / 4 + i / 2 * 8) * 16 + tile * 8 + lane % 4 * 2 + i % 2] = d[i];
  };
  for (int tile = 0; tile < 2; ++tile) {
    ldmatrix_x2<MatrixOrder::kRow>(b2, &s.b_by_n[tile * 8 + lane % 8][lane / 8 % 2 * 8]);
    keep(0, tile, b2);
    ldmatrix_x2<MatrixOrder::kTransposed>(b2, &s.b_by_k[lane % 16][tile * 8]);
    keep(1, tile, b2);
  }
  ldmatrix_x4<MatrixOrder::kRow>(b4, &s.b_by_n[lane / 16 * 8 + lane % 8][lane / 8 % 2 * 8]);
  for (int tile = 0; tile < 2; ++tile) keep(2, tile, {b4[2 * tile], b4[2 * tile + 1]});
  ldmatrix_x4<MatrixOrder::kTransposed>(b4, &s.b_by_k[lane % 16][lane / 16 * 8]);
  for (int tile = 0; tile < 2; ++tile) keep(3, tile, {b4[2 * tile], b4[2 * tile + 1]});
}

TEST(WarpMatrix, OperandRecipes) {
  Stream stream;
  const auto b_wide = [](int k, int n) { return static_cast<float>((k * 16 + n) % 59 - 29); };
  const DeviceArray<float> a(matrix(16, 16, a_element)), b(matrix(16, 16, b_wide)), out(4 * 256);
  launch(recipes, 1, 32, sizeof(Operands), stream, out.data(), a.data(), b.data());
  const auto got = out.host();
  for (int recipe = 0; recipe < 4; ++recipe) {
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        float sum = 0.0f;
        for (int k = 0; k < 16; ++k) sum += a_element(m, k) * b_wide(k, n);
        EXPECT_EQ(got[static_cast<std::size_t>(recipe * 256 + m * 16 + n)], sum) << "recipe " << recipe << " (" << m << "," << n << ")";
      }
    }
  }
}

/// (A B) C with the accumulators of the first product as the A operand of the second.
__global__ void chain(float* out, const float* a, const float* b) {
  const int lane = lane_id(), g = lane / 4, t = lane % 4;
  const auto at = [&](int m, int k) { return pack_bf16x2(a[m * 16 + k], a[m * 16 + k + 1]); };
  const auto bt = [&](int k, int n) { return pack_bf16x2(b[k * 16 + n], b[(k + 1) * 16 + n]); };
  const std::uint32_t fa[4] = {at(g, 2 * t), at(g + 8, 2 * t), at(g, 2 * t + 8), at(g + 8, 2 * t + 8)};
  float d[2][4] = {};
  for (int tile = 0; tile < 2; ++tile) {
    const std::uint32_t fb[2] = {bt(2 * t, tile * 8 + g), bt(2 * t + 8, tile * 8 + g)};
    mma_m16n8k16_bf16(d[tile], fa, fb);
  }
  const std::uint32_t next[4] = {pack_bf16x2(d[0][0], d[0][1]), pack_bf16x2(d[0][2], d[0][3]), pack_bf16x2(d[1][0], d[1][1]),
                                 pack_bf16x2(d[1][2], d[1][3])};
  float e[4] = {};
  const std::uint32_t fb[2] = {bt(2 * t, g), bt(2 * t + 8, g)};
  mma_m16n8k16_bf16(e, next, fb);
  for (int i = 0; i < 4; ++i) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = e[i];
}

TEST(WarpMatrix, AccumulatorsAreOperandsOfTheNextProduct) {
  Stream stream;
  const auto small = [](int r, int c) { return static_cast<float>((r * 3 + c * 5) % 4 - 1); };
  const DeviceArray<float> a(matrix(16, 16, small)), b(matrix(16, 16, small)), out(128);
  launch(chain, 1, 32, 0, stream, out.data(), a.data(), b.data());
  const auto got = out.host();
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      float sum = 0.0f;
      for (int k = 0; k < 16; ++k) {
        float inner = 0.0f;
        for (int j = 0; j < 16; ++j) inner += small(m, j) * small(j, k);
        sum += inner * small(k, n);
      }
      EXPECT_EQ(got[static_cast<std::size_t>(m * 8 + n)], sum);
    }
  }
}

__global__ void tf32_bits(std::uint32_t* out, const float* in) { out[threadIdx.x] = to_tf32(in[threadIdx.x]); }

TEST(WarpMatrix, Tf32RoundsToNearestAwayFromZero) {
  Stream stream;
  const float ulp = std::ldexp(1.0f, -10);
  const DeviceArray<float> in(std::vector<float>{1.0f, 1.0f + ulp / 2, -1.0f - ulp / 2, 1.0f + ulp * 0.49f, 1.0f + ulp * 1.5f, 3.0e38f});
  const DeviceArray<std::uint32_t> out(6);
  launch(tf32_bits, 1, 6, 0, stream, out.data(), in.data());
  const auto got = out.host();
  const float expected[] = {1.0f, 1.0f + ulp, -1.0f - ulp, 1.0f, 1.0f + 2 * ulp};
  for (std::size_t i = 0; i < 5; ++i) {
    float value;
    std::memcpy(&value, &got[i], 4);
    EXPECT_EQ(value, expected[i]) << i;
  }
}

}  // namespace
}  // namespace galrec
