#include "kernels/common/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/guarded.h"

namespace galrec {
namespace {

// The definition: element e takes 16 bits of block e / 8; half e % 2 (low first) of word e % 8 / 2.
double expected(const Dropout& d, std::uint64_t e) {
  const auto words = philox(d.key, e / 8);
  const std::uint32_t bits = words[e % 8 / 2] >> (16 * (e % 2)) & 0xffffu;
  return bits < d.threshold() ? 0.0 : d.scale();
}

template <class T>
class DropoutTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(DropoutTest, Types);

TYPED_TEST(DropoutTest, EqualsTheDefinition) {
  using T = TypeParam;
  const Dropout d{.rate = 0.3, .key = {.seed = 0x123456789abcdefull, .step = 4, .stream = 9}};
  for (std::uint64_t first : {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{4096 * 7}, (std::uint64_t{1} << 35) - 64}) {  // the last one crosses 2^32 blocks
    for (std::int64_t n : {0, 1, 7, 8, 9, 255, 256, 257, 263, 512, 1000}) {
      test::Guarded<T> out(n);
      dropout_multipliers<T>(d, first, n, out.data());
      const auto values = out.values();
      for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(values[i], static_cast<T>(expected(d, first + i))) << first << " + " << i << " of " << n;
    }
  }
}

TYPED_TEST(DropoutTest, BlocksOfRowsEqualTheDefinition) {
  using T = TypeParam;
  const Dropout d{.rate = 0.25, .key = {.seed = 3, .step = 1, .stream = 2}};
  for (std::int64_t rows : {0, 1, 2, 3, 33, 100}) {
    for (std::int64_t n : {1, 3, 8, 15, 16, 120, 256, 300, 513}) {
      for (std::uint64_t step : {std::uint64_t{0}, std::uint64_t{520}, std::uint64_t{4096}}) {
        const std::int64_t ld = n + 3;
        test::Guarded<T> out(std::vector<T>(static_cast<std::size_t>(rows * ld), T(-7)));
        dropout_multiplier_rows<T>(d, 64, step, rows, n, out.data(), ld);
        const auto values = out.values();
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t j = 0; j < ld; ++j) {
            const double want = j < n ? expected(d, 64 + static_cast<std::uint64_t>(r) * step + static_cast<std::uint64_t>(j)) : -7;
            ASSERT_EQ(values[r * ld + j], static_cast<T>(want)) << "row " << r << " of " << rows << ", column " << j << " of " << n;
          }
        }
      }
    }
  }
}

// A row can be regenerated alone, from any thread, in any order.
TYPED_TEST(DropoutTest, RowsAreIndependentOfEachOther) {
  using T = TypeParam;
  const Dropout d{.rate = 0.1, .key = {.seed = 8, .step = 0, .stream = 1}};
  constexpr std::int64_t kRows = 20, kCols = 37;
  const auto stride = dropout_row_stride(kCols);
  EXPECT_EQ(stride, 40u);
  std::vector<T> together(kRows * stride);
  dropout_multipliers<T>(d, 0, static_cast<std::int64_t>(together.size()), together.data());
  for (std::int64_t r = kRows - 1; r >= 0; --r) {
    std::vector<T> alone(kCols);
    dropout_multipliers<T>(d, static_cast<std::uint64_t>(r) * stride, kCols, alone.data());
    const std::vector<T> part(together.begin() + r * stride, together.begin() + r * stride + kCols);
    test::expect_same_bits(alone, part, "row");
  }
}

TYPED_TEST(DropoutTest, KeepsTheRightShareAndTheMean) {
  using T = TypeParam;
  constexpr std::int64_t kN = 1 << 20;
  std::vector<T> out(kN);
  for (double rate : {0.01, 0.1, 0.2, 0.5, 0.9}) {
    const Dropout d{.rate = rate, .key = {.seed = 2, .step = 3, .stream = 4}};
    dropout_multipliers<T>(d, 0, kN, out.data());
    std::int64_t kept = 0;
    for (T m : out) {
      ASSERT_TRUE(m == T(0) || m == static_cast<T>(d.scale()));
      kept += m != T(0);
    }
    EXPECT_NEAR(static_cast<double>(kept) / kN, 1 - rate, 5 * std::sqrt(rate * (1 - rate) / kN) + 1.0 / 65536) << rate;
    EXPECT_NEAR(d.scale() * (1 - static_cast<double>(d.threshold()) / 65536), 1.0, 1e-12);
  }
}

TEST(DropoutOptionsTest, RatesAndAlignment) {
  float x[8];
  EXPECT_FALSE(Dropout{}.active());
  EXPECT_TRUE((Dropout{.rate = 0.1}.active()));
  EXPECT_THROW((void)(Dropout{.rate = 1.0}.threshold()), CheckError);
  EXPECT_THROW((void)(Dropout{.rate = -0.1}.threshold()), CheckError);
  EXPECT_THROW((void)(Dropout{.rate = std::nan("")}.threshold()), CheckError);
  EXPECT_THROW(dropout_multipliers<float>({.rate = 0.1}, 4, 4, x), CheckError);
  EXPECT_THROW(dropout_multiplier_rows<float>({.rate = 0.1}, 8, 12, 2, 4, x, 4), CheckError);
}

}  // namespace
}  // namespace galrec
