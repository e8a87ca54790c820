#include "data/memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace galrec::data {
namespace {

TEST(Memory, PeakSeesAnAllocationAndKeepsIt) {
  const auto before = peak_resident_bytes();
  ASSERT_GT(before, 100'000u);
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  {
    const std::vector<char> block(kBytes, 1);
    EXPECT_EQ(block[kBytes / 2], 1);
  }
  EXPECT_GE(peak_resident_bytes(), std::uint64_t{kBytes});
}

TEST(Memory, FormatsThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(12'340), "12.3 kB");
  EXPECT_EQ(format_bytes(999'499), "999 kB");
  EXPECT_EQ(format_bytes(999'500), "1.00 MB");
  EXPECT_EQ(format_bytes(1'460'000'000), "1.46 GB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "18.4 EB");
}

}  // namespace
}  // namespace galrec::data
