#include "kernels/topk/topk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/topk_cases.h"
#include "tests/support/compare.h"
#include "tests/support/guarded.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Best;
using Case = test::RankingCase;
using test::counted;
using test::Guarded;
using test::Matrix;
using test::Ranks;
using test::sorted;

ExcludedItems lists_of(const Case& in) { return {view_of(in.row_ptr), view_of(in.excluded)}; }

template <class T>
Best run_top_k(const Case& in, std::int64_t k, int threads) {
  CpuContext ctx(threads);
  Matrix<T> queries(in.n, in.c, in.queries), items(in.v, in.c, in.items, 2), scores(in.n, k);
  Matrix<std::int32_t> indices(in.n, k, 1);
  const auto bias = test::convert<T>(in.bias);
  top_k<T>(ctx, indices.view(), scores.view(), queries.view(), items.view(), view_of(bias), lists_of(in));
  return {indices.values(), test::convert<double>(scores.values())};
}

template <class T>
void check_top_k(const Case& in, std::int64_t k) {
  const auto expected = sorted(in, k);
  for (int threads = 1; threads <= 4; ++threads) {
    const auto ran = run_top_k<T>(in, k, threads);
    const std::string what = fmt::format("{} x {} of {}, k {}, {} threads", in.n, in.c, in.v, k, threads);
    ASSERT_EQ(ran.indices, expected.indices) << what;
    ASSERT_EQ(ran.scores, expected.scores) << what;
  }
}

TEST(TopK, EqualsASortOnHostileShapes) {
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const Case in(sizes[i] % 300, sizes[(i + 1) % sizes.size()] % 100, sizes[(i + 3) % sizes.size()]);
    for (const std::int64_t k : {1, 10, 33, 800}) {
      check_top_k<float>(in, k);
      check_top_k<double>(in, k);
    }
  }
  check_top_k<float>(Case(65, 5, 3000), 20);
}

TEST(TopK, WithoutBiasOrExclusions) {
  Case in(70, 33, 257);
  in.bias.assign(in.v, 0);
  in.row_ptr.assign(in.n + 1, 0);
  in.excluded.clear();
  const auto expected = sorted(in, 20);
  CpuContext ctx(2);
  std::vector<std::int32_t> indices(70 * 20);
  std::vector<double> scores(70 * 20);
  top_k<double>(ctx, view_of(indices, 70, 20), view_of(scores, 70, 20), view_of(in.queries, 70, 33), view_of(in.items, 257, 33), {}, {});
  EXPECT_EQ(indices, expected.indices);
  EXPECT_EQ(scores, expected.scores);
}

TEST(TopK, TiesGoToTheLowestIndex) {
  CpuContext ctx(1);
  const std::vector<float> query = {1}, items(1000, 2.0f);
  std::vector<std::int32_t> indices(5), row_ptr = {0, 2}, excluded = {1, 3};
  std::vector<float> scores(5);
  top_k<float>(ctx, view_of(indices, 1, 5), view_of(scores, 1, 5), view_of(query, 1, 1), view_of(items, 1000, 1), {},
               {view_of(std::as_const(row_ptr)), view_of(std::as_const(excluded))});
  EXPECT_EQ(indices, (std::vector<std::int32_t>{0, 2, 4, 5, 6}));
}

// A candidate whose score is -inf is still a candidate; an excluded item is none, whatever its score.
TEST(TopK, MinusInfinityIsAScore) {
  CpuContext ctx(1);
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> query = {1}, items = {1, 2, 3, 4}, bias = {-kInf, 0, -kInf, kInf};
  std::vector<std::int32_t> indices(4), row_ptr = {0, 1}, excluded = {1}, targets = {2}, ranks(1), ties(1);
  std::vector<float> scores(4), own(1);
  const ExcludedItems lists{view_of(std::as_const(row_ptr)), view_of(std::as_const(excluded))};
  top_k<float>(ctx, view_of(indices, 1, 4), view_of(scores, 1, 4), view_of(query, 1, 1), view_of(items, 4, 1), view_of(bias), lists);
  EXPECT_EQ(indices, (std::vector<std::int32_t>{3, 0, 2, -1}));
  EXPECT_EQ(scores, (std::vector<float>{kInf, -kInf, -kInf, -kInf}));
  target_rank<float>(ctx, view_of(ranks), view_of(ties), view_of(own), view_of(query, 1, 1), view_of(items, 4, 1), view_of(bias),
                     view_of(targets), lists);
  EXPECT_EQ(ranks[0], 3);
  EXPECT_EQ(ties[0], 1);
}

template <class T>
Ranks run_target_rank(const Case& in, int threads) {
  CpuContext ctx(threads);
  Matrix<T> queries(in.n, in.c, in.queries), items(in.v, in.c, in.items, 2);
  const auto bias = test::convert<T>(in.bias);
  Guarded<std::int32_t> ranks(in.n), ties(in.n);
  Guarded<T> own(in.n);
  target_rank<T>(ctx, ranks.vector(), ties.vector(), own.vector(), queries.view(), items.view(), view_of(bias), view_of(in.targets), lists_of(in));
  return {ranks.values(), ties.values(), test::convert<double>(own.values())};
}

template <class T>
void check_target_rank(const Case& in) {
  const auto expected = counted(in);
  for (int threads = 1; threads <= 4; ++threads) {
    const auto ran = run_target_rank<T>(in, threads);
    ASSERT_EQ(ran.ranks, expected.ranks) << in.n << " of " << in.v;
    ASSERT_EQ(ran.ties, expected.ties);
    ASSERT_EQ(ran.scores, expected.scores);
  }
}

TEST(TargetRank, EqualsTheDefinitionOnHostileShapes) {
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const Case in(sizes[i] % 300, sizes[(i + 1) % sizes.size()] % 100, sizes[(i + 3) % sizes.size()]);
    check_target_rank<float>(in);
    check_target_rank<double>(in);
  }
}

// With scores that are not exact, the target must not lose or tie against itself: it is the best item when all others are
// excluded, and its rank equals its place in top_k of the same block.
TEST(TargetRank, AgreesWithTopKOnRoundedScores) {
  const std::int64_t n = 257, c = 127, v = 769;
  const auto queries = test::random_normal<float>(n * c, 1), items = test::random_normal<float>(v * c, 2);
  CpuContext ctx(2);
  std::vector<std::int32_t> indices(n * v), targets = test::random_ids(n, v, 3), ranks(n), ties(n);
  std::vector<float> scores(n * v), own(n);
  top_k<float>(ctx, view_of(indices, n, v), view_of(scores, n, v), view_of(queries, n, c), view_of(items, v, c), {}, {});
  target_rank<float>(ctx, view_of(ranks), view_of(ties), view_of(own), view_of(queries, n, c), view_of(items, v, c), {}, view_of(targets), {});
  for (std::int64_t q = 0; q < n; ++q) {
    ASSERT_EQ(indices[q * v + ranks[q] - 1], targets[q]) << q;
    ASSERT_EQ(scores[q * v + ranks[q] - 1], own[q]) << q;
  }
}

TEST(TargetRank, FullPrecisionUnderABf16Context) {
  const std::int64_t n = 70, c = 128, v = 500;
  const auto queries = test::random_normal<float>(n * c, 1), items = test::random_normal<float>(v * c, 2);
  const auto targets = test::random_ids(n, v, 3);
  std::vector<std::int32_t> ranks(n), ties(n);
  std::vector<float> full(n), bf16(n);
  for (auto* own : {&full, &bf16}) {
    CpuContext ctx(2, own == &full ? GemmPrecision::kFull : GemmPrecision::kBf16);
    target_rank<float>(ctx, view_of(ranks), view_of(ties), view_of(*own), view_of(queries, n, c), view_of(items, v, c), {}, view_of(targets), {});
    EXPECT_EQ(ctx.gemm_precision(), own == &full ? GemmPrecision::kFull : GemmPrecision::kBf16) << "left as it was";
  }
  test::expect_same_bits(bf16, full, "scores");
}

template <class Call>
void expect_numerical_error(Call&& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(TopK, NotANumberIsAnError) {
  Case in(70, 3, 257);
  in.bias[200] = std::numeric_limits<double>::quiet_NaN();
  expect_numerical_error([&] { run_top_k<float>(in, 5, 2); }, "item 200");
  expect_numerical_error([&] { run_target_rank<float>(in, 2); }, "item 200");
  in.bias[200] = 0;
  in.queries[68 * 3] = std::numeric_limits<double>::quiet_NaN();
  expect_numerical_error([&] { run_top_k<double>(in, 5, 1); }, "query 68");
}

TEST(TopK, RefusesBadArguments) {
  const auto refuse = [](auto change) {
    Case in(5, 3, 7);
    EXPECT_NO_THROW(run_top_k<float>(in, 2, 1));
    change(in);
    EXPECT_THROW(run_top_k<float>(in, 2, 1), CheckError);
    EXPECT_THROW(run_target_rank<float>(in, 1), CheckError);
  };
  refuse([](Case& in) { in.excluded[0] = 7; });
  refuse([](Case& in) { in.excluded[0] = -1; });
  refuse([](Case& in) { in.row_ptr.push_back(in.row_ptr.back()); });
  refuse([](Case& in) { in.row_ptr.back() += 100; });
  refuse([](Case& in) { std::swap(in.row_ptr[2], in.row_ptr[4]); });
  refuse([](Case& in) { in.bias.pop_back(); });
  CpuContext ctx(1);
  const Case in(5, 3, 7);
  std::vector<std::int32_t> indices(10), five(5), targets = {0, 1, 2, 3, 7};
  std::vector<double> scores(10), own(5);
  const auto q = view_of(in.queries, 5, 3), items = view_of(in.items, 7, 3);
  EXPECT_THROW(top_k<double>(ctx, view_of(indices, 5, 2), view_of(scores, 2, 5), q, items, {}, {}), CheckError);
  EXPECT_THROW(top_k<double>(ctx, view_of(indices, 5, 2), view_of(scores, 5, 2), q.slice_cols(0, 2), items, {}, {}), CheckError);
  const auto rank = [&](const std::vector<std::int32_t>& t) {
    target_rank<double>(ctx, view_of(five), view_of(five), view_of(own), q, items, {}, view_of(t), {});
  };
  EXPECT_THROW(rank(targets), CheckError);
  EXPECT_THROW(rank({0, 1, 2, 3, -1}), CheckError);
  EXPECT_THROW(rank({0, 1, 2, 3}), CheckError);
}

}  // namespace
}  // namespace galrec
