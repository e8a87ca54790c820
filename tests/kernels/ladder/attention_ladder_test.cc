// Every rung of the ladder of attention against the CPU in double, on inputs rounded to bf16 first; held to twice the error of a
// naive version that rounds p and the output to bf16.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/attention/ladder/attention_ladder.h"
#include "tests/kernels/attention_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/schedules.h"

namespace galrec {
namespace {

using test::AttentionCase;
using test::AttentionInputs;
using test::Staged;

double bf16_round(double x) {
  return static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(x))));
}

struct Result {
  std::vector<double> o, lse;
};

Result run(CudaContext& ctx, const ladder::Rung<ladder::Attention>& rung, const AttentionInputs& in) {
  const auto& c = in.c;
  Staged<bfloat16> q(ctx, in.tq, in.width, in.q, c.gap), k(ctx, in.tk, in.width, in.k, c.gap),
      v(ctx, in.tk, in.width, in.v, c.gap);
  Staged<bfloat16> o(ctx, in.tq, in.width, c.gap);
  Staged<float> lse(ctx, in.tq, c.heads, 3), table(ctx, c.bias ? c.buckets : 0, c.heads, in.table, 1);
  Staged<std::int32_t> cu(ctx, 1, static_cast<std::int64_t>(in.cu_q.size()), in.cu_q),
      index(ctx, 1, static_cast<std::int64_t>(in.index.size()), in.index);
  rung.run(ctx, {.o = o,
                 .lse = lse,
                 .q = q,
                 .k = k,
                 .v = v,
                 .cu = cu.vector(),
                 .longest = *std::max_element(c.queries.begin(), c.queries.end()),
                 .table = c.bias ? View<const float, 2>(table.view()) : View<const float, 2>(),
                 .buckets = {index.vector()}});
  ctx.synchronize();
  return {o.doubles(), lse.doubles()};
}

AttentionCase of(std::string name, test::Lengths lengths, std::int64_t heads, bool bias, std::int64_t reach = 128) {
  return {.name = std::move(name),
          .queries = lengths,
          .keys = lengths,
          .heads = heads,
          .dim = ladder::kHeadDim,
          .bias = bias,
          .reach = reach};
}

class AttentionLadderCuda : public testing::TestWithParam<ladder::Rung<ladder::Attention>> {};

TEST_P(AttentionLadderCuda, EqualsTheOracleOnHostileLengths) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  for (const auto& c : {of("one token", {1}, 1, true), of("around tiles", {1, 31, 0, 33, 127, 64, 16, 17}, 2, true),
                        of("no bias", {63, 65, 2}, 3, false), of("long", {257}, 1, true, 40)}) {
    const auto in = test::make_inputs<bfloat16>(c);
    const auto expected = test::attention_oracle(in);
    const auto naive = test::naive_attention(in, bf16_round);
    const Result got = run(ctx, GetParam(), in);
    const std::string what = std::string(GetParam().name) + ", " + c.name;
    test::expect_close(got.o, expected.o, 2 * test::relative_error(naive.o, expected.o) + 1e-5, what + ": o");
    test::expect_close(got.lse, expected.lse, test::Tolerance<float>::kRelative, what + ": lse");
  }
}

TEST_P(AttentionLadderCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  const auto in = test::make_inputs<bfloat16>(of("two tiles", {70, 5, 20}, 2, true));
  const Result first = run(ctx, GetParam(), in);
  test::for_each_schedule([&](const std::string& schedule) {
    const Result again = run(ctx, GetParam(), in);
    test::expect_same_bits(again.o, first.o, schedule);
    test::expect_same_bits(again.lse, first.lse, schedule);
  });
}

TEST_P(AttentionLadderCuda, OperandsThatDoNotFitAreNamed) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  Staged<bfloat16> rows(ctx, 4, 64), narrow(ctx, 4, 56);
  Staged<float> lse(ctx, 4, 1);
  Staged<std::int32_t> cu(ctx, 1, 2, std::vector<std::int32_t>{0, 4});
  EXPECT_THROW(GetParam().run(ctx, {.o = rows,
                                    .lse = lse,
                                    .q = rows,
                                    .k = rows,
                                    .v = narrow,
                                    .cu = cu.vector(),
                                    .longest = 4,
                                    .table = {},
                                    .buckets = {}}),
               CheckError);
}

INSTANTIATE_TEST_SUITE_P(Rungs, AttentionLadderCuda, testing::ValuesIn(ladder::kAttentionRungs),
                         [](const auto& info) { return "rung" + std::to_string(info.index + 1); });

}  // namespace
}  // namespace galrec
