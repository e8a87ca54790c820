// Integer, float and bf16 intrinsics, 16-byte accesses and atomics. Builds with nvcc, too.

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/common/mma.h"
#include "kernels/common/warp.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

using testing::DeviceArray;
using testing::results_of;
using testing::Stream;

__global__ void bits(int* out) {
  int i = 0;
  out[i++] = __popc(0xf0f01u);
  out[i++] = __popcll(0xf00000000fULL);
  out[i++] = __clz(1);
  out[i++] = __clz(0);
  out[i++] = __clz(-1);
  out[i++] = __clzll(1);
  out[i++] = __ffs(0);
  out[i++] = __ffs(8);
  out[i++] = __ffsll(1LL << 40);
  out[i++] = static_cast<int>(__brev(1u) >> 31);
  out[i++] = static_cast<int>(__brev(0x0000b00fu) >> 16);
  out[i++] = static_cast<int>(__byte_perm(0x03020100u, 0x07060504u, 0x7531u));
  out[i++] = static_cast<int>(__umulhi(0xffffffffu, 0xffffffffu) - 0xfffffffeu);
  out[i++] = __mulhi(-1, 5);
  out[i++] = static_cast<int>(__umul64hi(~0ULL, 16));
  out[i++] = static_cast<int>(__funnelshift_l(0x80000001u, 0x1u, 1));
  out[i++] = static_cast<int>(__funnelshift_r(0x80000001u, 0x1u, 4));
  out[i++] = min(3, -2) + max(7, 9);
  out[i++] = static_cast<int>(max(3u, 0xffffffffu) & 0xff);
  out[i++] = __float2int_rn(2.5f) * 1000 + __float2int_rn(3.5f) * 100 + __float2int_rd(-0.5f) * 10 + __float2int_ru(0.2f);
  out[i++] = __float2int_rz(-7.9f);
  out[i++] = __float2int_rn(1e20f);
}

TEST(Intrinsics, Bits) {
  const std::vector<int> expected{9,  8, 31, 32, 0, 63, 0, 4, 41, 1, 0xf00d, 0x07050301, 0, -1, 15, 3, 0x18000000, 7, 255,
                                  2000 + 400 - 10 + 1, -7, 0x7fffffff};
  EXPECT_EQ(results_of(bits, 1, 1, 0, expected.size()), expected);
}

__global__ void floats(float* out) {
  int i = 0;
  out[i++] = __uint_as_float(0x3f800000u) + __int_as_float(0x40000000);
  out[i++] = static_cast<float>(__float_as_uint(1.0f) == 0x3f800000u && __float_as_int(-0.0f) < 0);
  // Exact in one rounding, different in two.
  out[i++] = __fmaf_rn(1.0f + 0x1p-12f, 1.0f + 0x1p-12f, -1.0f);
  out[i++] = __fadd_rn(__fmul_rn(1.0f + 0x1p-12f, 1.0f + 0x1p-12f), -1.0f);
  out[i++] = __fsub_rn(1.0f, 0x1p-24f);
  out[i++] = __fsqrt_rn(2.0f) + __frcp_rn(4.0f) + __fdiv_rn(1.0f, 3.0f);
  out[i++] = __saturatef(1.5f) + __saturatef(-2.0f) + __saturatef(0.25f) + __saturatef(nanf(""));
  out[i++] = fmaxf(nanf(""), 2.0f) + fminf(1.0f, nanf("")) + max(1.0f, 2.0f);
}

TEST(Intrinsics, FloatsToTheBit) {
  const std::vector<float> expected{3.0f,        1.0f,  0x1p-11f + 0x1p-24f, 0x1p-11f, 1.0f - 0x1p-24f, std::sqrt(2.0f) + 0.25f + 1.0f / 3.0f, 1.25f,
                                    2.0f + 1.0f + 2.0f};
  EXPECT_EQ(results_of(floats, 1, 1, 0, expected.size()), expected);
}

__global__ void approximations(float* out, const float* in, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    const float x = in[i], positive = fabsf(x) + 1e-3f;
    out[i] = exp2_approx(x);
    out[n + i] = log2_approx(positive);
    out[2 * n + i] = rsqrt_approx(positive);
    out[3 * n + i] = rcp_approx(positive);
    out[4 * n + i] = tanh_approx(x);
    out[5 * n + i] = __expf(x);
    out[6 * n + i] = __logf(positive);
    out[7 * n + i] = rsqrtf(positive);
    out[8 * n + i] = __fdividef(x, positive);
  }
}

TEST(Intrinsics, ApproximationsWithinTheirDocumentedErrors) {
  Stream stream;
  std::vector<float> x;
  for (int i = -400; i <= 400; ++i) x.push_back(static_cast<float>(i) * 0.05f + 0.013f);
  const auto n = x.size();
  const DeviceArray<float> in(x), out(9 * n);
  launch(approximations, 1, 64, 0, stream, out.data(), in.data(), static_cast<int>(n));
  const auto got = out.host();
  for (std::size_t i = 0; i < n; ++i) {
    const double v = x[i], p = static_cast<double>(std::fabs(x[i]) + 1e-3f);
    const auto near = [&](std::size_t row, double exact, double relative, double absolute = 0.0) {
      EXPECT_LE(std::fabs(got[row * n + i] - exact), relative * std::fabs(exact) + absolute) << "row " << row << " at " << v;
    };
    near(0, std::exp2(v), 0x1p-22);
    near(1, std::log2(p), 0x1p-22, 0x1p-22);
    near(2, 1.0 / std::sqrt(p), 0x1p-22);
    near(3, 1.0 / p, 0x1p-22);
    near(4, std::tanh(v), 0x1p-10);
    near(5, std::exp(v), 0x1p-20);
    near(6, std::log(p), 0x1p-20, 0x1p-20);
    near(7, 1.0 / std::sqrt(p), 0x1p-22);
    near(8, v / p, 0x1p-21);
  }
}

__global__ void extremes(float* out) {
  const float infinity = __int_as_float(0x7f800000);
  out[0] = exp2_approx(-infinity);
  out[1] = exp2_approx(-140.0f);  // would be denormal
  out[2] = exp2_approx(200.0f);
  out[3] = exp2_approx(__int_as_float(1));  // a denormal input
  out[4] = rsqrt_approx(0.0f);
}

TEST(Intrinsics, ApproximationsFlushDenormals) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(results_of(extremes, 1, 1, 0, 5), (std::vector<float>{0.0f, 0.0f, kInfinity, 1.0f, kInfinity}));
}

__global__ void to_bf16_and_back(std::uint32_t* out, const float* in, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  const float x = in[i], y = in[n - 1 - i];
  out[i] = pack_bf16x2(x, y);
  const FloatPair pair = unpack_bf16x2(out[i]);
  const bool same = __float_as_uint(to_float(to_bf16(x))) == __float_as_uint(pair.lo) && __float_as_uint(to_float(to_bf16(y))) == __float_as_uint(pair.hi);
  out[n + i] = same && to_bf16(x).bits == (out[i] & 0xffffu);
}

TEST(Intrinsics, Bf16RoundsToNearestEven) {
  // Every upper half with lower halves just below, at and above the tie.
  Stream stream;
  std::vector<float> x;
  for (std::uint32_t high = 0; high < 0x10000u; high += 7) {
    for (const std::uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) x.push_back(std::bit_cast<float>(high << 16 | low));
  }
  const int n = static_cast<int>(x.size());
  const DeviceArray<float> in(x);
  const DeviceArray<std::uint32_t> out(2 * x.size());
  launch(to_bf16_and_back, (n + 127) / 128, 128, 0, stream, out.data(), in.data(), n);
  const auto got = out.host();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint32_t u = std::bit_cast<std::uint32_t>(x[i]);
    // The two neighbours, and the nearer of them; the even one in the middle.
    const std::uint32_t down = u >> 16, rest = u & 0xffffu;
    std::uint32_t expected = rest > 0x8000u || (rest == 0x8000u && down % 2 == 1) ? down + 1 : down;
    if (std::isnan(x[i])) expected = 0x7fffu;
    ASSERT_EQ(got[i] & 0xffffu, expected) << std::hex << u;
    ASSERT_EQ(got[x.size() + i], 1u);
  }
}

__global__ void packs(float* out, const float* in, bfloat16* halves) {
  const Pack<float> four = load16(in + 4 * threadIdx.x);
  Pack<float> doubled;
  for (int i = 0; i < Pack<float>::kSize; ++i) doubled[i] = 2.0f * four[i];
  store16(out + 4 * threadIdx.x, doubled);
  Pack<bfloat16> eight = load16(halves + 8 * threadIdx.x);
  for (int i = 0; i < Pack<bfloat16>::kSize; ++i) eight[i] = to_bf16(to_float(eight[i]) + 1.0f);
  store16(halves + 8 * threadIdx.x, eight);
}

TEST(Intrinsics, SixteenBytesAtOnce) {
  static_assert(sizeof(Pack<float>) == 16 && sizeof(Pack<bfloat16>) == 16 && Pack<bfloat16>::kSize == 8);
  Stream stream;
  std::vector<float> x;
  std::vector<bfloat16> h;
  for (int i = 0; i < 64; ++i) x.push_back(static_cast<float>(i));
  for (int i = 0; i < 128; ++i) h.push_back(bfloat16(static_cast<float>(i)));
  const DeviceArray<float> in(x), out(64);
  const DeviceArray<bfloat16> halves(h);
  launch(packs, 1, 16, 0, stream, out.data(), in.data(), halves.data());
  const auto doubled = out.host();
  const auto raised = halves.host();
  for (int i = 0; i < 64; ++i) EXPECT_EQ(doubled[static_cast<std::size_t>(i)], 2.0f * static_cast<float>(i));
  for (int i = 0; i < 128; ++i) EXPECT_EQ(static_cast<float>(raised[static_cast<std::size_t>(i)]), static_cast<float>(i + 1));
}

__global__ void atomics(int* counts, unsigned* words, unsigned long long* longs, int* claims) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&counts[i % 8], i);
  atomicMin(&counts[8], -i);
  atomicMax(&counts[9], i);
  atomicOr(&words[0], 1u << i % 32);
  atomicAnd(&words[1], ~(1u << i % 16));
  atomicXor(&words[2], 5u);
  atomicMax(&words[3], static_cast<unsigned>(i) * 100000u);
  atomicAdd(&longs[0], 1ULL << 33);
  if (atomicCAS(&claims[0], 0, i + 1) == 0) claims[1] = i + 1;
  if (atomicExch(&claims[2], 1) == 0) atomicAdd(&claims[3], 1);
}

TEST(Intrinsics, Atomics) {
  Stream stream;
  const int n = 40 * 128;
  const DeviceArray<int> counts(10), claims(4);
  const DeviceArray<unsigned> words(std::vector<unsigned>{0, 0xffffffffu, 0, 0});
  const DeviceArray<unsigned long long> longs(1);
  launch(atomics, 40, 128, 0, stream, counts.data(), words.data(), longs.data(), claims.data());
  const auto c = counts.host();
  for (int r = 0; r < 8; ++r) {
    int sum = 0;
    for (int i = r; i < n; i += 8) sum += i;
    EXPECT_EQ(c[static_cast<std::size_t>(r)], sum);
  }
  EXPECT_EQ(c[8], 1 - n);
  EXPECT_EQ(c[9], n - 1);
  EXPECT_EQ(words.host(), (std::vector<unsigned>{0xffffffffu, 0xffff0000u, 0, (n - 1) * 100000u}));
  EXPECT_EQ(longs.host()[0], static_cast<unsigned long long>(n) << 33);
  const auto claimed = claims.host();
  EXPECT_EQ(claimed[0], claimed[1]);
  EXPECT_EQ(claimed[3], 1);
}

}  // namespace
}  // namespace galrec
