// The comparison of conformance dumps can fail, for each claim and by just too much; and the executor still returns
// what its committed dump says.

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernels/common/check.h"
#include "tests/conformance/dump.h"

namespace galrec::conformance {
namespace {

std::uint32_t bits(float x) {
  return std::bit_cast<std::uint32_t>(x);
}

Probe probe(Claim claim, double bound, std::vector<std::uint32_t> out, std::vector<float> scale = {}) {
  return {.name = "p", .claim = claim, .bound = bound, .in = {1, 2}, .out = std::move(out), .scale = std::move(scale)};
}

/// Whether the claim holds when the second word is `other`.
bool holds(Claim claim, double bound, std::uint32_t word, std::uint32_t other, std::vector<float> scale = {}) {
  const auto d = compare({probe(claim, bound, {7, word}, scale)}, {probe(claim, bound, {7, other}, scale)});
  EXPECT_EQ(d.size(), 1u);
  return d[0].fault.empty();
}

TEST(ConformanceDump, EachClaimHoldsUpToItsBoundAndFailsBeyond) {
  const std::uint32_t one = bits(1.0f);
  EXPECT_TRUE(holds(Claim::kExact, 0, one, one));
  EXPECT_FALSE(holds(Claim::kExact, 0, one, one + 1));
  EXPECT_TRUE(holds(Claim::kUlps, 2, one, one - 2));
  EXPECT_FALSE(holds(Claim::kUlps, 2, one, one + 3));
  EXPECT_TRUE(holds(Claim::kRelative, 0x1p-20, bits(8.0f), bits(8.0f + 8 * 0x1p-20f)));
  EXPECT_FALSE(holds(Claim::kRelative, 0x1p-20, bits(8.0f), bits(8.0f + 16 * 0x1p-20f)));
  EXPECT_TRUE(holds(Claim::kNearOne, 0x1p-20, bits(0x1p-10f), bits(0x1p-10f + 0x1p-20f)));
  EXPECT_FALSE(holds(Claim::kNearOne, 0x1p-20, bits(0x1p-10f), bits(0x1p-10f + 0x1p-19f)));
  EXPECT_TRUE(holds(Claim::kScaled, 0x1p-20, one, bits(1.0f + 0x1p-18f), {1, 4}));
  EXPECT_FALSE(holds(Claim::kScaled, 0x1p-20, one, bits(1.0f + 0x1p-17f), {1, 4}));
  EXPECT_TRUE(holds(Claim::kObserved, 0, one, 0));
}

TEST(ConformanceDump, NanAndInfinityAreNotCloseToNumbers) {
  const std::uint32_t one = bits(1.0f), nan = 0x7fffffff, other_nan = 0xffc00000, infinity = 0x7f800000;
  for (const Claim c : {Claim::kUlps, Claim::kRelative, Claim::kNearOne, Claim::kScaled}) {
    EXPECT_FALSE(holds(c, 0.5, one, nan, {1, 1}));
    EXPECT_FALSE(holds(c, 0.5, nan, one, {1, 1}));
    EXPECT_FALSE(holds(c, 0.5, one, infinity, {1, 1}));
    EXPECT_FALSE(holds(c, 0.5, infinity, infinity | 0x80000000u, {1, 1}));
    EXPECT_TRUE(holds(c, 0.5, nan, other_nan, {1, 1}));
  }
  EXPECT_FALSE(holds(Claim::kExact, 0, nan, other_nan));
}

TEST(ConformanceDump, DumpsOfOtherInputsOrProbesFail) {
  const Probe p = probe(Claim::kUlps, 1, {7, 8});
  Probe other = p;
  other.in = {1, 3};
  EXPECT_FALSE(compare({p}, {other})[0].fault.empty());
  EXPECT_FALSE(compare({p}, {})[0].fault.empty());
  EXPECT_FALSE(compare({}, {p})[0].fault.empty());
  other = p;
  other.out.pop_back();
  EXPECT_FALSE(compare({p}, {other})[0].fault.empty());
}

TEST(ConformanceDump, ReadsWhatItWrites) {
  const std::vector<Probe> probes = {probe(Claim::kExact, 0, {1, 0xffffffff}),
                                     probe(Claim::kScaled, 0x1p-19, {3, 4}, {0.1f, 1e30f})};
  const auto read = read_dump(write_dump(probes, "a machine"), "dump");
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].out, probes[0].out);
  EXPECT_EQ(read[1].scale, probes[1].scale);
  EXPECT_EQ(read[1].bound, probes[1].bound);
  EXPECT_THROW(read_dump("in\n 00000001\n", "dump"), DataError);
  EXPECT_THROW(read_dump("probe p\nclaim exact 0\nout\n 1\n", "dump"), DataError);
  EXPECT_THROW(read_dump("probe p\nclaim perhaps 0\n", "dump"), DataError);
}

#if defined(GALREC_WITH_CUDA)
TEST(ConformanceDump, TheDeviceReturnsWhatTheExecutorReturned) {
  std::unique_ptr<CudaContext> ctx;
  try {
    ctx = std::make_unique<CudaContext>();
  } catch (const UsageError&) {
    GTEST_SKIP() << "no CUDA device";
  }
  auto probes = matrix_probes(*ctx);
  for (auto& p : scalar_probes(*ctx)) probes.push_back(std::move(p));
  const char* source = std::getenv("GALREC_SOURCE_DIR");
  const auto file = std::filesystem::path(source == nullptr ? "." : source) / "tests/conformance/executor.txt";
  std::ifstream in(file);
  ASSERT_TRUE(in) << file;
  std::ostringstream text;
  text << in.rdbuf();
  const auto expected = read_dump(text.str(), file.string());
  EXPECT_GE(expected.size(), 20u);
  for (const auto& d : compare(expected, probes)) {
    EXPECT_EQ(d.fault, "") << d.name << ": " << d.different << " of " << d.words << " words differ, by at most "
                           << d.largest;
#if defined(GALREC_CUDA_EMULATED)
    // The host's libm may round expf and erfcf the other way, its compiler may contract; the rest is the executor's
    // own.
    const bool host = d.name == "expf" || d.name == "erfcf" || d.name.find("contracted") != std::string::npos;
    EXPECT_TRUE(host || d.different == 0) << d.name;
#endif
  }
}
#endif

}  // namespace
}  // namespace galrec::conformance
