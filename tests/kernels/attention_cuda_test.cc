// Attention on CUDA against the CPU in double, on inputs rounded first; bf16 is held to twice the error of a naive
// version that rounds at the same places.

#include <gtest/gtest.h>

#include "tests/kernels/attention_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"

#if defined(GALREC_WITH_CUDA)

namespace galrec {
namespace {

using test::AttentionCase;
using test::AttentionResult;
using test::make_inputs;
using test::run_attention;

template <class B>
class AttentionCudaTest : public testing::Test {};
TYPED_TEST_SUITE(AttentionCudaTest, test::CudaBackends, test::BackendNames);

constexpr auto kCausal = AttentionMask::kCausal;
constexpr auto kNone = AttentionMask::kNone;

double bf16_round(double x) {
  return static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(x))));
}

// -inf must be -inf; everything else within `tolerance`.
void expect_lse(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance,
                const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isinf(expected[i])) {
      EXPECT_EQ(actual[i], expected[i]) << what << " " << i;
    } else {
      ASSERT_TRUE(std::abs(actual[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])))
          << what << " " << i << ": " << actual[i] << ", " << expected[i];
    }
  }
}

template <class T>
void expect_oracle(const test::AttentionInputs& in, const AttentionResult& mine) {
  const auto expected = test::attention_oracle(in);
  const auto& name = in.c.name;
  expect_lse(mine.lse, expected.lse, 2e-5, name + ": lse");
  if constexpr (std::is_same_v<T, bfloat16>) {
    const auto naive = test::naive_attention(in, bf16_round);
    const auto expect = [&](const std::vector<double>& x, const std::vector<double>& rounded,
                            const std::vector<double>& exact, const char* what) {
      test::expect_close(x, exact, 2 * test::relative_error(rounded, exact) + 1e-5, name + ": " + what);
    };
    expect(mine.o, naive.o, expected.o, "o");
    expect(mine.dq, naive.dq, expected.dq, "dq");
    expect(mine.dk, naive.dk, expected.dk, "dk");
    expect(mine.dv, naive.dv, expected.dv, "dv");
    expect(mine.dtable, naive.dtable, expected.dtable, "dtable");
  } else {
    constexpr double kTolerance = test::Tolerance<float>::kRelative;
    test::expect_close(mine.o, expected.o, kTolerance, name + ": o");
    test::expect_close(mine.dq, expected.dq, kTolerance, name + ": dq");
    test::expect_close(mine.dk, expected.dk, kTolerance, name + ": dk");
    test::expect_close(mine.dv, expected.dv, kTolerance, name + ": dv");
    test::expect_close(mine.dtable, expected.dtable, kTolerance, name + ": dtable");
  }
}

template <class B>
void check_cases(const std::vector<AttentionCase>& cases) {
  using T = typename B::Value;
  GALREC_REQUIRE_BACKEND(B, ctx);
  for (const auto& c : cases) {
    const auto in = make_inputs<T>(c);
    expect_oracle<T>(in, run_attention<T>(ctx, in));
  }
}

TYPED_TEST(AttentionCudaTest, LengthsAroundTiles) {
  const test::Lengths lengths = {1, 63, 64, 65, 90, 91, 92, 0, 112, 113, 114, 127, 128, 129, 3, 17, 2, 16, 15};
  check_cases<TypeParam>({{"bidirectional", lengths, lengths, 1, 64}, {"causal", lengths, lengths, 1, 32, kCausal}});
}

TYPED_TEST(AttentionCudaTest, LongSequences) {
  check_cases<TypeParam>({{"257", {257}, {257}, 1, 64, kNone, true, 0.1},
                          {"512", {511, 512}, {511, 512}, 1, 32},
                          {"512 causal", {512}, {512}, 1, 64, kCausal, true, 0.2},
                          {"256", {256, 193}, {256, 193}, 1, 32, kNone, true, 0.1},
                          {"256 of 64", {256, 145}, {256, 145}, 1, 64, kNone, true, 0.1},
                          {"uneven 256", {20, 230}, {200, 30}, 1, 64, kCausal, true, 0.1},
                          {"scaled", {290}, {270}, 1, 32, kNone, true, 0.1, 0.3},
                          {"reach 512", {300}, {600}, 1, 32, kNone, true, 0, 1.0, 512, 9}});
}

TYPED_TEST(AttentionCudaTest, HeadSizes) {
  std::vector<AttentionCase> cases;
  for (std::int64_t dim : {1, 8, 31, 32, 40, 64, 80, 128})
    cases.push_back({fmt::format("dim {}", dim), {33, 2, 130}, {33, 2, 130}, 3, dim, kNone, true, 0.25});
  cases.push_back({"whole vectors of columns, heads that begin between them", {33, 2}, {33, 2}, 4, 6});
  check_cases<TypeParam>(cases);
}

TYPED_TEST(AttentionCudaTest, CrossAttention) {
  check_cases<TypeParam>({{"cross", {1, 1, 2, 0, 7, 70}, {40, 0, 127, 5, 300, 20}, 4, 64, kNone, false, 0.1},
                          {"one query", {1, 3}, {700, 20}, 2, 32, kNone, false},
                          {"many queries", {300, 70}, {2, 1}, 2, 32, kNone, true},
                          {"causal uneven", {40, 3, 200}, {9, 80, 20}, 2, 16, kCausal, true},
                          {"scaled", {33, 70}, {33, 70}, 2, 32, kNone, false, 0, 0.176},
                          {"no keys at all", {3, 2}, {0, 0}, 2, 8},
                          {"no keys for many queries", {300, 2}, {0, 0}, 2, 8},
                          {"no queries at all", {0, 0}, {4, 2}, 2, 8},
                          {"empty batch", {}, {}, 2, 8, kNone, false}});
}

TYPED_TEST(AttentionCudaTest, RowsThatAreNotAligned) {
  check_cases<TypeParam>({{"gap 3", {65, 20}, {65, 20}, 2, 32, kNone, true, 0.1, 1.0, 40, 7, 3},
                          {"no gap", {65, 20}, {65, 20}, 2, 64, kNone, true, 0, 1.0, 40, 7, 0}});
}

// Each bucket by itself, at every distance at which T5's buckets change.
TYPED_TEST(AttentionCudaTest, EveryBucketOfTheTable) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const AttentionCase cases[] = {{"table", {150, 40, 290}, {150, 40, 290}, 2, 32},
                                 {"causal table", {150, 40, 290}, {150, 40, 290}, 2, 32, kCausal},
                                 {"one pair at the largest distance", {9}, {9}, 2, 32},
                                 {"the same with more keys", {3}, {20}, 2, 32}};
  for (const auto& c : cases) {
    const auto in = make_inputs<T>(c);
    const auto mine = run_attention<T>(ctx, in);
    const auto expected = test::attention_oracle(in);
    double largest = 0;
    for (double x : expected.dtable) largest = std::max(largest, std::abs(x));
    for (std::size_t i = 0; i < expected.dtable.size(); ++i) {
      const double tolerance = std::is_same_v<T, bfloat16> ? 1e-2 : 1e-5;
      EXPECT_TRUE(std::abs(mine.dtable[i] - expected.dtable[i]) <= tolerance * largest)
          << c.name << ": bucket " << i / 2 << ", head " << i % 2;
    }
  }
}

TYPED_TEST(AttentionCudaTest, AccumulateAddsToWhatIsThere) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const AttentionCase& c : {AttentionCase{"short", {20, 0, 100}, {20, 3, 100}, 2, 64},
                                 AttentionCase{"long", {270}, {270}, 1, 32, kNone, true, 0.1}}) {
    const auto in = make_inputs<T>(c);
    const auto fresh = run_attention<T>(ctx, in);
    const auto random = [](std::size_t n, std::uint64_t seed) {
      return test::quantized<T>(test::random_normal<double>(static_cast<std::int64_t>(n), seed));
    };
    const AttentionResult start{{},
                                {},
                                random(fresh.dq.size(), 21),
                                random(fresh.dk.size(), 22),
                                random(fresh.dv.size(), 23),
                                random(fresh.dtable.size(), 24)};
    const auto added = run_attention<T>(ctx, in, &start);
    const auto expect_sum = [&](const std::vector<double>& sum, const std::vector<double>& a,
                                const std::vector<double>& b, double tolerance, const char* what) {
      std::vector<double> expected(a.size());
      for (std::size_t i = 0; i < a.size(); ++i) expected[i] = a[i] + b[i];
      test::expect_close(sum, expected, tolerance, c.name + ": " + what);
    };
    const double tolerance =
        std::is_same_v<T, bfloat16> ? 8e-3 : 1e-6;  // bf16: both sides of the comparison are rounded
    expect_sum(added.dq, start.dq, fresh.dq, tolerance, "dq");
    expect_sum(added.dk, start.dk, fresh.dk, tolerance, "dk");
    expect_sum(added.dv, start.dv, fresh.dv, tolerance, "dv");
    expect_sum(added.dtable, start.dtable, fresh.dtable, 1e-6, "dtable");
  }
}

}  // namespace
}  // namespace galrec

#endif
