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
  for (const test::Lengths& lengths :
       {test::Lengths{5, 20, 70}, test::Lengths{70, 130, 5}, test::Lengths{260, 3, 300}}) {
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

TYPED_TEST(AttentionBitsTest, WrongShapesAreRefused) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const test::Staged<T> rows(ctx, 4, 8, std::vector<double>(32, 0.5)),
      wide(ctx, 4, 260, std::vector<double>(1040, 0.5)), out(ctx, 4, 8);
  const test::Staged<float> table(ctx, 5, 2, std::vector<double>(10, 0.0)), lse(ctx, 4, 2, std::vector<double>(8, 0.0));
  const test::Staged<std::int32_t> cu(ctx, 1, 3, std::vector<std::int32_t>{0, 1, 4}),
      index(ctx, 1, 1027, std::vector<std::int32_t>(1027, 0));
  struct Arguments {
    View<T, 2> o, dq, dk;
    View<float, 2> lse, dtable;
    View<const T, 2> q, k, v;
    View<const std::int32_t, 1> cu_q, cu_k;
    View<const float, 2> table;
    RelativeBuckets buckets;
    AttentionOptions options;
  };
  const Arguments good{
      out, out, out, lse, table.view(), rows, rows, rows, cu, cu, table, {index.vector().slice(0, 9)}, {.heads = 2}};
  const auto forward = [&](const Arguments& a) {
    attention_forward<T>(ctx, a.o, a.lse, a.q, a.k, a.v, a.cu_q, a.cu_k, a.table, a.buckets, a.options);
  };
  const auto backward = [&](const Arguments& a) {
    attention_backward<T>(ctx, a.dq, a.dk, a.dk, a.dtable, a.q, a.q, a.k, a.v, View<const T, 2>(a.o),
                          View<const float, 2>(a.lse), a.cu_q, a.cu_k, a.table, a.buckets, a.options,
                          Accumulate::kOverwrite, Accumulate::kOverwrite);
  };
  EXPECT_NO_THROW(forward(good));
  const auto refuse = [&](const char* what, auto change) {
    Arguments a = good;
    change(a);
    EXPECT_THROW(forward(a), CheckError) << what;
    EXPECT_THROW(backward(a), CheckError) << what;
  };
  refuse("heads", [](Arguments& a) { a.options.heads = 0; });
  refuse("columns for heads", [](Arguments& a) { a.options.heads = 3; });
  refuse("no columns", [](Arguments& a) { a.q = a.q.slice_cols(0, 0); });
  refuse("v", [](Arguments& a) { a.v = a.v.slice_rows(0, 3); });
  refuse("k and v", [](Arguments& a) { a.k = a.v = a.v.slice_cols(0, 6); });
  refuse("offsets", [](Arguments& a) { a.cu_k = a.cu_k.slice(0, 2); });
  refuse("no offsets", [](Arguments& a) { a.cu_q = a.cu_k = a.cu_k.slice(0, 0); });
  refuse("scale", [](Arguments& a) { a.options.scale = 0; });
  refuse("head size", [&](Arguments& a) { a.q = a.k = a.v = wide; });
  refuse("table", [](Arguments& a) { a.table = a.table.slice_cols(0, 1); });
  refuse("even indices", [&](Arguments& a) { a.buckets = {index.vector().slice(0, 8)}; });
  refuse("reach", [&](Arguments& a) { a.buckets = {index.vector()}; });
  refuse("o", [](Arguments& a) { a.o = a.o.slice_rows(0, 3); });
  refuse("lse", [](Arguments& a) { a.lse = a.lse.slice_rows(0, 3); });
  refuse("lse of other heads", [](Arguments& a) { a.lse = a.lse.slice_cols(0, 1); });
  const auto refuse_backward = [&](const char* what, auto change) {
    Arguments a = good;
    change(a);
    EXPECT_THROW(backward(a), CheckError) << what;
  };
  refuse_backward("dq", [](Arguments& a) { a.dq = a.dq.slice_rows(0, 3); });
  refuse_backward("dk", [](Arguments& a) { a.dk = a.dk.slice_cols(0, 4); });
  refuse_backward("dtable", [](Arguments& a) { a.dtable = a.dtable.slice_rows(0, 4); });
}

}  // namespace
}  // namespace galrec

#endif
