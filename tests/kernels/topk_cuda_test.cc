// top_k and target_rank on CUDA (on a GPU or on the executor): integer inputs, whose scores are exact in every type and order of
// summation, must be ranked exactly as sorting does it.

#include "kernels/topk/topk.h"

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/topk_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Best;
using test::counted;
using Case = test::RankingCase;
using test::Ranks;
using test::sorted;
using test::Staged;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The operands of a case in the memory of a context.
template <class T, class Context>
struct Operands {
  Staged<T> queries, items;
  Staged<float> bias;
  Staged<std::int32_t> row_ptr, excluded, targets;

  Operands(Context& ctx, const Case& in)
      : queries(ctx, in.n, in.c, in.queries, in.query_gap),
        items(ctx, in.v, in.c, in.items, in.item_gap),
        bias(ctx, 1, static_cast<std::int64_t>(in.bias.size()), in.bias),
        row_ptr(ctx, 1, static_cast<std::int64_t>(in.row_ptr.size()), in.row_ptr),
        excluded(ctx, 1, static_cast<std::int64_t>(in.excluded.size()), in.excluded),
        targets(ctx, 1, in.n, in.targets),
        has_bias_(!in.bias.empty()),
        has_lists_(!in.row_ptr.empty()) {}

  View<const float, 1> bias_view() const { return has_bias_ ? View<const float, 1>(bias.vector()) : View<const float, 1>(); }
  ExcludedItems lists() const {
    if (!has_lists_) return {};
    return {row_ptr.vector(), excluded.vector()};
  }

 private:
  bool has_bias_, has_lists_;
};

template <class B>
Best run_top_k(typename B::Context& ctx, const Case& in, std::int64_t k) {
  using T = typename B::Value;
  const Operands<T, typename B::Context> o(ctx, in);
  Staged<std::int32_t> indices(ctx, in.n, k, 1);
  Staged<float> scores(ctx, in.n, k, 3);
  top_k<T>(ctx, indices.view(), scores.view(), o.queries.view(), o.items.view(), o.bias_view(), o.lists());
  ctx.synchronize();
  return {indices.values(), scores.doubles()};
}

template <class B>
Ranks run_target_rank(typename B::Context& ctx, const Case& in) {
  using T = typename B::Value;
  const Operands<T, typename B::Context> o(ctx, in);
  Staged<std::int32_t> ranks(ctx, 1, in.n), ties(ctx, 1, in.n);
  Staged<float> own(ctx, 1, in.n);
  target_rank<T>(ctx, ranks.vector(), ties.vector(), own.vector(), o.queries.view(), o.items.view(), o.bias_view(),
                 o.targets.vector(), o.lists());
  ctx.synchronize();
  return {ranks.values(), ties.values(), own.doubles()};
}

template <class B>
class CudaRanking : public testing::Test {};
TYPED_TEST_SUITE(CudaRanking, test::CudaBackends, test::BackendNames);

TYPED_TEST(CudaRanking, EqualsASortOnHostileShapes) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const Case in(sizes[i] % 300, sizes[(i + 1) % sizes.size()] % 100, sizes[(i + 3) % sizes.size()], i % 2 == 0 ? 8 : 3);
    for (const std::int64_t k : {1, 10, 33, 128, 300}) {
      const auto expected = sorted(in, k);
      const auto ran = run_top_k<TypeParam>(ctx, in, k);
      ASSERT_EQ(ran.indices, expected.indices) << in.n << " x " << in.c << " of " << in.v << ", k " << k;
      ASSERT_EQ(ran.scores, expected.scores) << in.n << " x " << in.c << " of " << in.v << ", k " << k;
    }
    const auto expected = counted(in);
    const auto ran = run_target_rank<TypeParam>(ctx, in);
    ASSERT_EQ(ran.ranks, expected.ranks) << in.n << " x " << in.c << " of " << in.v;
    ASSERT_EQ(ran.ties, expected.ties);
    ASSERT_EQ(ran.scores, expected.scores);
  }
}

// Several splits of the items, with few and with many queries, columns that fill slices and that do not.
TYPED_TEST(CudaRanking, ManySplits) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& [n, c, v, gap] : {std::array<std::int64_t, 4>{65, 8, 5001, 0}, {4, 136, 3000, 8}, {130, 64, 2200, 8}}) {
    const Case in(n, c, v, gap);
    for (const std::int64_t k : {20, 100}) {
      const auto expected = sorted(in, k);
      const auto ran = run_top_k<TypeParam>(ctx, in, k);
      ASSERT_EQ(ran.indices, expected.indices) << n << ", k " << k;
      ASSERT_EQ(ran.scores, expected.scores) << n;
    }
    const auto expected = counted(in);
    const auto ran = run_target_rank<TypeParam>(ctx, in);
    ASSERT_EQ(ran.ranks, expected.ranks) << n;
    ASSERT_EQ(ran.ties, expected.ties) << n;
  }
}

#if !defined(GALREC_SIMT_INSTRUMENT)  // long under the race detector
// The lists in scratch take 64 MB at most: 16,384 queries at a time where the best 130 are wanted.
TEST(CudaRankingLong, LaterPartsOfManyQueries) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  const Case in(16400, 2, 5);
  const auto expected = sorted(in, 130);
  const auto ran = run_top_k<test::CudaFloat>(ctx, in, 130);
  EXPECT_TRUE(ran.indices == expected.indices);  // not two million numbers in a message
  EXPECT_TRUE(ran.scores == expected.scores);
}
#endif

TYPED_TEST(CudaRanking, WithoutBiasOrExclusions) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Case in(70, 33, 257);
  in.bias.clear();
  in.row_ptr.clear();
  in.excluded.clear();
  const auto expected = sorted(in, 20);
  const auto ran = run_top_k<TypeParam>(ctx, in, 20);
  EXPECT_EQ(ran.indices, expected.indices);
  EXPECT_EQ(ran.scores, expected.scores);
  EXPECT_EQ(run_target_rank<TypeParam>(ctx, in).ranks, counted(in).ranks);
}

// Ascending scores make every item a survivor of the bar; descending ones none after the first.
TYPED_TEST(CudaRanking, SortedItems) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const double sign : {1.0, -1.0}) {
    Case in(3, 1, 700);
    in.queries = {1, 2, -1};
    in.bias.clear();
    for (std::int64_t v = 0; v < in.v; ++v) in.items[v] = sign * static_cast<double>(v / 3 - 100);
    const auto expected = sorted(in, 40);
    const auto ran = run_top_k<TypeParam>(ctx, in, 40);
    EXPECT_EQ(ran.indices, expected.indices);
    EXPECT_EQ(ran.scores, expected.scores);
  }
}

TYPED_TEST(CudaRanking, MinusInfinityIsAScoreAndZerosAreOne) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Case in(1, 1, 6);
  in.queries = {1};
  in.items = {1, 2, 3, 4, -0.0, 0.0};
  in.bias = {-kInfinity, 0, -kInfinity, kInfinity, -0.0, -0.0};
  in.row_ptr = {0, 1};
  in.excluded = {1};
  in.targets = {2};
  const auto best = run_top_k<TypeParam>(ctx, in, 6);
  EXPECT_EQ(best.indices, (std::vector<std::int32_t>{3, 4, 5, 0, 2, -1}));
  EXPECT_EQ(best.scores, (std::vector<double>{kInfinity, 0, 0, -kInfinity, -kInfinity, -kInfinity}));
  const auto ranks = run_target_rank<TypeParam>(ctx, in);
  EXPECT_EQ(ranks.ranks[0], 5);
  EXPECT_EQ(ranks.ties[0], 1);
}

// Products too small for fp32 leave -0 where they are negative: equal to the +0 of other items, among which the first wins. As many
// columns as a slice holds, or the zeros that fill it would make +0 of -0.
TYPED_TEST(CudaRanking, ScoresThatVanishAreEqualWhateverTheirSign) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Case in(1, 128 / sizeof(typename TypeParam::Value), 6);
  in.queries.assign(static_cast<std::size_t>(in.c), 1e-30);
  for (std::int64_t i = 0; i < in.v * in.c; ++i) in.items[i] = i / in.c % 2 == 0 ? -1e-30 : 1e-30;
  in.bias.clear();
  in.row_ptr.clear();
  in.excluded.clear();
  in.targets = {2};
  EXPECT_EQ(run_top_k<TypeParam>(ctx, in, 6).indices, (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(run_target_rank<TypeParam>(ctx, in).ties[0], 5);
}

Case rounded_case(std::int64_t n, std::int64_t c, std::int64_t v) {
  Case in(n, c, v);
  in.queries = test::random_normal<double>(n * c, 1);
  in.items = test::random_normal<double>(v * c, 2);
  for (std::int64_t i = 0; i < c; ++i) in.items[(v - 1) * c + i] = in.items[i];  // rows that tie
  in.targets[0] = 0;
  in.bias.clear();
  in.row_ptr.clear();
  in.excluded.clear();
  return in;
}

// Scores that are not exact: close to the double oracle's, equal for equal rows, and the target stands where top_k puts it.
TYPED_TEST(CudaRanking, RoundedScores) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Case in = rounded_case(70, 127, 500);
  const auto best = run_top_k<TypeParam>(ctx, in, 500);
  const auto ranks = run_target_rank<TypeParam>(ctx, in);
  in.queries = test::quantized<T>(in.queries);
  in.items = test::quantized<T>(in.items);
  EXPECT_GE(ranks.ties[0], 1);
  std::vector<double> expected;
  for (std::int64_t q = 0; q < in.n; ++q) {
    for (std::int64_t j = 0; j < in.v; ++j) expected.push_back(in.score(q, best.indices[q * in.v + j]));
    const auto row = best.indices.begin() + q * in.v;
    std::vector<std::int32_t> seen(row, row + in.v);
    std::sort(seen.begin(), seen.end());
    for (std::int64_t v = 0; v < in.v; ++v) ASSERT_EQ(seen[v], v) << "every item once";
    const auto place = q * in.v + ranks.ranks[q] - 1 - ranks.ties[q];
    const auto last = place + ranks.ties[q];
    EXPECT_TRUE(std::find(best.indices.begin() + place, best.indices.begin() + last + 1, in.targets[q]) !=
                best.indices.begin() + last + 1);
    EXPECT_EQ(best.scores[place], ranks.scores[q]);
  }
  test::expect_close(best.scores, expected, test::Tolerance<float>::kRelative, "scores");
}

TYPED_TEST(CudaRanking, BitsDoNotDependOnTheSchedule) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Case in = rounded_case(67, 130, 700);
  std::optional<Best> first;
  test::for_each_schedule([&](const std::string& schedule) {
    const auto ran = run_top_k<TypeParam>(ctx, in, 50);
    if (!first) first = ran;
    ASSERT_EQ(ran.indices, first->indices) << schedule;
    test::expect_same_bits(ran.scores, first->scores, "scores, " + schedule);
  });
}

template <class Call>
void expect_numerical_error(Call&& call) {
  EXPECT_THROW(call(), NumericalError);
}

TYPED_TEST(CudaRanking, NotANumberIsAnError) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Case in(70, 3, 257);
  in.bias[200] = std::numeric_limits<double>::quiet_NaN();
  expect_numerical_error([&] { run_top_k<TypeParam>(ctx, in, 5); });
  expect_numerical_error([&] { run_target_rank<TypeParam>(ctx, in); });
  in.bias[200] = 0;
  in.queries[68 * 3] = std::numeric_limits<double>::quiet_NaN();
  expect_numerical_error([&] { run_top_k<TypeParam>(ctx, in, 5); });
  in.queries[68 * 3] = 0;
  EXPECT_NO_THROW(run_top_k<TypeParam>(ctx, in, 5));
}

TYPED_TEST(CudaRanking, RefusesBadArguments) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto refuse = [&](auto change) {
    Case in(5, 3, 7);
    EXPECT_NO_THROW(run_top_k<TypeParam>(ctx, in, 2));
    change(in);
    EXPECT_THROW(run_top_k<TypeParam>(ctx, in, 2), CheckError);
    EXPECT_THROW(run_target_rank<TypeParam>(ctx, in), CheckError);
  };
  refuse([](Case& in) { in.excluded[0] = 7; });
  refuse([](Case& in) { in.excluded[0] = -1; });
  refuse([](Case& in) { in.row_ptr.push_back(in.row_ptr.back()); });
  refuse([](Case& in) { in.row_ptr.back() += 100; });
  refuse([](Case& in) { std::swap(in.row_ptr[2], in.row_ptr[4]); });
  refuse([](Case& in) { in.bias.pop_back(); });
  Case in(5, 3, 7);
  EXPECT_THROW(run_top_k<TypeParam>(ctx, in, 513), CheckError);
  in.targets[4] = 7;
  EXPECT_THROW(run_target_rank<TypeParam>(ctx, in), CheckError);
  in.targets[4] = -1;
  EXPECT_THROW(run_target_rank<TypeParam>(ctx, in), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
