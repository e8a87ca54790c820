#include "kernels/common/vec_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/common/dtype.h"

namespace galrec {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double ulps(float actual, double exact) {
  const float near = static_cast<float>(exact);
  const double spacing = static_cast<double>(std::nextafter(std::abs(near), kInf)) - std::abs(near);
  return std::abs(static_cast<double>(actual) - exact) / spacing;
}

// Every 64th float of [-87.3, 88.3], through a vector loop (as kernels use it) and alone: the same bits.
TEST(VecMathTest, ExpIsWithinTwoUlp) {
  double worst = 0;
  std::vector<float> x, y;
  const auto flush = [&] {
    y.resize(x.size());
    const float* in = x.data();
    float* out = y.data();
    const auto n = static_cast<std::int64_t>(x.size());
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = vec::exp(in[i]);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = ulps(y[i], std::exp(static_cast<double>(x[i])));
      ASSERT_TRUE(error <= 2.0) << x[i] << ": " << y[i] << ", " << error << " ulp";
      worst = std::max(worst, error);
      volatile float alone = x[i];
      ASSERT_EQ(std::bit_cast<std::uint32_t>(vec::exp(static_cast<float>(alone))), std::bit_cast<std::uint32_t>(y[i])) << x[i];
    }
    x.clear();
  };
  for (float limit : {-87.3f, 88.3f}) {
    for (std::uint32_t bits = std::bit_cast<std::uint32_t>(limit) & 0x80000000u; bits <= std::bit_cast<std::uint32_t>(limit); bits += 64 * 61) {
      x.push_back(std::bit_cast<float>(bits));
      if (x.size() == 4096) flush();
    }
  }
  flush();
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(VecMathTest, ExpSaturatesAndKeepsNaN) {
  EXPECT_EQ(vec::exp(0.0f), 1.0f);
  EXPECT_EQ(vec::exp(-0.0f), 1.0f);
  for (float x : {-87.4f, -100.0f, -1e4f, -1e10f, -std::numeric_limits<float>::max(), -kInf}) EXPECT_EQ(vec::exp(x), 0.0f) << x;
  for (float x : {88.4f, 100.0f, 1e4f, 1e10f, std::numeric_limits<float>::max(), kInf}) {
    EXPECT_GE(vec::exp(x), 2.2e38f) << x;
    EXPECT_TRUE(std::isfinite(vec::exp(x))) << x;
  }
  EXPECT_TRUE(std::isnan(vec::exp(kNan)));
  EXPECT_TRUE(std::isnan(vec::exp(-kNan)));
  for (float x = -87.3f; x < 88.3f; x += 0.01f) ASSERT_LE(vec::exp(x), vec::exp(x + 0.01f)) << x;
}

TEST(VecMathTest, TanhSigmoidAndSoftplusOnDenseGrids) {
  for (float x = -100.0f; x <= 100.0f; x += std::abs(x) < 12 ? 1e-3f : 0.25f) {
    const double d = x;
    ASSERT_NEAR(vec::tanh(x), std::tanh(d), 3e-7) << x;
    ASSERT_NEAR(vec::sigmoid(x), 1 / (1 + std::exp(-d)), 2e-7) << x;
    ASSERT_NEAR(vec::softplus(x), d > 0 ? d + std::log1p(std::exp(-d)) : std::log1p(std::exp(d)), 1e-6 * std::max(1.0, std::abs(d))) << x;
    ASSERT_LE(std::abs(vec::tanh(x)), 1.0f) << x;
  }
}

TEST(VecMathTest, ErfIsWithinThreeUlp) {
  for (float limit : {0.0f, -0.0f}) {
    const std::uint32_t sign = std::bit_cast<std::uint32_t>(limit);
    for (std::uint32_t bits = std::bit_cast<std::uint32_t>(1e-6f); bits <= std::bit_cast<std::uint32_t>(8.0f); bits += 997) {
      const float x = std::bit_cast<float>(bits | sign);
      const double error = ulps(vec::erf(x), std::erf(static_cast<double>(x)));
      ASSERT_TRUE(error <= 3.0) << x << ": " << vec::erf(x) << ", " << error << " ulp";
    }
  }
  EXPECT_EQ(vec::erf(0.0f), 0.0f);
  EXPECT_EQ(vec::erf(kInf), 1.0f);
  EXPECT_EQ(vec::erf(-kInf), -1.0f);
  EXPECT_TRUE(std::isnan(vec::erf(kNan)));
  for (double x = -5; x <= 5; x += 0.13) EXPECT_EQ(vec::erf(x), std::erf(x));
}

TEST(VecMathTest, InfinitiesAndNaN) {
  EXPECT_EQ(vec::tanh(kInf), 1.0f);
  EXPECT_EQ(vec::tanh(-kInf), -1.0f);
  EXPECT_EQ(vec::sigmoid(kInf), 1.0f);
  EXPECT_NEAR(vec::sigmoid(-kInf), 0.0f, 1e-37f);
  EXPECT_EQ(vec::softplus(-kInf), 0.0f);
  EXPECT_EQ(vec::softplus(kInf), kInf);
  EXPECT_TRUE(std::isnan(vec::tanh(kNan)));
  EXPECT_TRUE(std::isnan(vec::sigmoid(kNan)));
  EXPECT_TRUE(std::isnan(vec::softplus(kNan)));
}

TEST(VecMathTest, DoubleIsTheCLibrary) {
  for (double x = -30; x <= 30; x += 0.37) {
    EXPECT_EQ(vec::exp(x), std::exp(x));
    EXPECT_EQ(vec::tanh(x), std::tanh(x));
    EXPECT_NEAR(vec::sigmoid(x), 1 / (1 + std::exp(-x)), 1e-16);
  }
}

TEST(Bfloat16Test, RoundsToNearestEven) {
  for (std::uint32_t i = 0; i < 0x10000u; ++i) {  // every bf16 value survives
    const float f = std::bit_cast<float>(i << 16);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(f))));
    } else {
      ASSERT_EQ(bfloat16(f).bits, i);
    }
  }
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80) << "a tie goes to the even neighbour below";
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82) << "a tie goes to the even neighbour above";
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_EQ(bfloat16(std::bit_cast<float>(0x3f817fffu)).bits, 0x3f81);
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80) << "overflow rounds to infinity";
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(0x7fffffffu))))) << "a NaN of all ones stays NaN";
}

}  // namespace
}  // namespace galrec
