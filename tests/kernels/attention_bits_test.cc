// Attention on CUDA gives the same bits again and again, in whatever order lanes and blocks run; and reports offsets
// that make no sense instead of following them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "tests/kernels/attention_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"

#if defined(GALREC_WITH_CUDA)

#if defined(GALREC_CUDA_EMULATED)
#include "kernels/simt/schedule.h"
#endif

namespace galrec {
namespace {

using test::AttentionCase;
using test::AttentionResult;

template <class B>
class AttentionBitsTest : public testing::Test {};
TYPED_TEST_SUITE(AttentionBitsTest, test::CudaBackends, test::BackendNames);

// Every length class, each with bias and dropout.
const std::vector<AttentionCase>& every_class() {
  static const std::vector<AttentionCase> cases = {
      {"mixed", {3, 40, 0, 130, 270, 16, 100}, {3, 40, 5, 130, 270, 16, 100}, 2, 32, AttentionMask::kNone, true, 0.1},
      {"causal", {3, 65, 150, 290}, {3, 65, 150, 290}, 1, 64, AttentionMask::kCausal, true, 0.1}};
  return cases;
}

void expect_same(const AttentionResult& a, const AttentionResult& b, const std::string& what) {
  test::expect_same_bits(a.o, b.o, what + ": o");
  test::expect_same_bits(a.lse, b.lse, what + ": lse");
  test::expect_same_bits(a.dq, b.dq, what + ": dq");
  test::expect_same_bits(a.dk, b.dk, what + ": dk");
  test::expect_same_bits(a.dv, b.dv, what + ": dv");
  test::expect_same_bits(a.dtable, b.dtable, what + ": dtable");
}

TYPED_TEST(AttentionBitsTest, TwoRunsAreEqual) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& c : every_class()) {
    const auto in = test::make_inputs<T>(c);
    const auto first = test::run_attention<T>(ctx, in);
    expect_same(test::run_attention<T>(ctx, in), first, c.name);
#if defined(GALREC_CUDA_EMULATED)
    using enum simt::Order;
    for (auto order : {kReverse, kShuffled}) {
      const simt::ScheduleScope scope({.lanes = order, .blocks = order, .seed = 7});
      expect_same(test::run_attention<T>(ctx, in), first, c.name + ", another schedule");
    }
#endif
  }
}

// Tiles reach beyond the sequence that they belong to; what lies there must not.
TYPED_TEST(AttentionBitsTest, NaNStaysInItsSequence) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const test::Lengths& lengths : {test::Lengths{5, 20, 70}, test::Lengths{70, 130, 5}, test::Lengths{260, 3, 300}}) {
    const auto clean = test::make_inputs<T>({"nan", lengths, lengths, 2, 32, AttentionMask::kNone, true, 0.1});
    auto in = clean;
    const auto first = in.cu_q[1] * in.width, last = in.cu_q[2] * in.width;
    for (auto* x : {&in.q, &in.k, &in.v, &in.dout}) std::fill(x->begin() + first, x->begin() + last, std::nan(""));
    const auto expected = test::run_attention<T>(ctx, clean), ran = test::run_attention<T>(ctx, in);
    const auto others = [&](std::vector<double> x, std::int64_t width) {
      x.erase(x.begin() + in.cu_q[1] * width, x.begin() + in.cu_q[2] * width);
      return x;
    };
    test::expect_same_bits(others(ran.o, in.width), others(expected.o, in.width), "o");
    test::expect_same_bits(others(ran.lse, 2), others(expected.lse, 2), "lse");
    test::expect_same_bits(others(ran.dq, in.width), others(expected.dq, in.width), "dq");
    test::expect_same_bits(others(ran.dk, in.width), others(expected.dk, in.width), "dk");
    test::expect_same_bits(others(ran.dv, in.width), others(expected.dv, in.width), "dv");
  }
}

TYPED_TEST(AttentionBitsTest, OffsetsOutOfOrderAreReported) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto good = test::make_inputs<T>({"good", {4, 5}, {4, 5}, 2, 8});
  EXPECT_NO_THROW(test::run_attention<T>(ctx, good));
  for (auto [at, value] : {std::pair{0, 1}, {1, 11}, {2, 8}}) {
    auto bad = good;
    bad.cu_q[static_cast<std::size_t>(at)] = value;
    EXPECT_THROW(test::run_attention<T>(ctx, bad), CheckError) << at;
    bad = good;
    bad.cu_k[static_cast<std::size_t>(at)] = value;
    EXPECT_THROW(test::run_attention<T>(ctx, bad), CheckError) << at;
  }
  EXPECT_THROW(test::run_attention<T>(ctx, test::make_inputs<T>({"too long", {1}, {4097}, 1, 8})), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
