#include "kernels/common/philox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace galrec {
namespace {

using Words = std::array<std::uint32_t, 4>;

// kat_vectors of the Random123 distribution, "philox 4x32 10": counter words are (block low, block high, step, stream),
// key words the seed's halves.
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(philox({.seed = 0, .step = 0, .stream = 0}, 0), (Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox({.seed = ~0ull, .step = ~0u, .stream = ~0u}, ~0ull), (Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox({.seed = 0x299f31d0a4093822ull, .step = 0x13198a2eu, .stream = 0x03707344u}, 0x85a308d3243f6a88ull),
            (Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(PhiloxTest, EveryPartOfTheKeyCounts) {
  const PhiloxKey base{.seed = 5, .step = 6, .stream = 7};
  std::set<Words> seen = {philox(base, 8)};
  for (int bit = 0; bit < 64; ++bit) {
    seen.insert(philox({base.seed ^ (1ull << bit), base.step, base.stream}, 8));
    seen.insert(philox(base, 8 ^ (1ull << bit)));
  }
  for (int bit = 0; bit < 32; ++bit) {
    seen.insert(philox({base.seed, base.step ^ (1u << bit), base.stream}, 8));
    seen.insert(philox({base.seed, base.step, base.stream ^ (1u << bit)}, 8));
  }
  EXPECT_EQ(seen.size(), 1u + 2 * 64 + 2 * 32);
}

TEST(PhiloxStreamTest, ReadsBlocksInOrder) {
  const PhiloxKey key{.seed = 1, .step = 2, .stream = 3};
  PhiloxStream stream(key), later(key, 2);
  for (int block = 0; block < 4; ++block) {
    for (int w = 0; w < 4; ++w) {
      const auto word = stream.next_u32();
      EXPECT_EQ(word, philox(key, block)[w]);
      if (block >= 2) {
        EXPECT_EQ(later.next_u32(), word);
      }
    }
  }
}

TEST(PhiloxStreamTest, DistributionsAreInRangeAndCentred) {
  PhiloxStream stream({.seed = 11, .step = 0, .stream = 1});
  constexpr int kN = 200000;
  double sum = 0, normal_sum = 0, normal_squares = 0;
  std::vector<int> count(10);
  for (int i = 0; i < kN; ++i) {
    const double u = stream.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u;
    const auto k = stream.below(10);
    ASSERT_LT(k, 10u);
    ++count[k];
    const double z = stream.normal();
    ASSERT_TRUE(std::isfinite(z));
    normal_sum += z;
    normal_squares += z * z;
  }
  // Five standard errors each.
  EXPECT_NEAR(sum / kN, 0.5, 5 * std::sqrt(1.0 / 12 / kN));
  EXPECT_NEAR(normal_sum / kN, 0, 5 / std::sqrt(kN));
  EXPECT_NEAR(normal_squares / kN, 1, 5 * std::sqrt(2.0 / kN));
  for (int c : count) EXPECT_NEAR(c, kN / 10.0, 5 * std::sqrt(kN * 0.09));
}

}  // namespace
}  // namespace galrec
