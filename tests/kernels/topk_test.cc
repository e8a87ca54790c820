#include "kernels/topk/topk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/guarded.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Guarded;
using test::Matrix;

// Small integers: every score is exact in both types and in any order of summation, and ties abound.
std::vector<double> small_integers(std::int64_t n, std::uint64_t seed, std::int64_t range = 3) {
  PhiloxStream random({.seed = seed});
  std::vector<double> out(static_cast<std::size_t>(n));
  for (auto& x : out) x = static_cast<double>(random.below(static_cast<std::uint64_t>(2 * range + 1))) - static_cast<double>(range);
  return out;
}

struct Case {
  std::int64_t n, c, v;
  std::vector<double> queries, items, bias;
  std::vector<std::int32_t> targets, row_ptr, excluded;

  // Query i excludes i % 5 random items (some twice), query 3 everything.
  Case(std::int64_t queries_, std::int64_t cols, std::int64_t items_) : n(queries_), c(cols), v(items_) {
    queries = small_integers(n * c, 1);
    items = small_integers(v * c, 2);
    bias = small_integers(v, 3, 1);
    targets = test::random_ids(n, static_cast<std::int32_t>(v), 4);
    row_ptr = {0};
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<std::int32_t> row = test::random_ids(i % 5, static_cast<std::int32_t>(v), 100 + i);
      if (i % 10 == 4) row.push_back(row.front());
      if (i % 7 == 2) row.push_back(targets[i]);
      if (i == 3) {
        row.resize(v);
        std::iota(row.begin(), row.end(), 0);
      }
      excluded.insert(excluded.end(), row.begin(), row.end());
      row_ptr.push_back(static_cast<std::int32_t>(excluded.size()));
    }
  }

  ExcludedItems lists() const { return {view_of(row_ptr), view_of(excluded)}; }
  double score(std::int64_t q, std::int64_t item) const {
    double sum = bias.empty() ? 0 : bias[item];
    for (std::int64_t i = 0; i < c; ++i) sum += queries[q * c + i] * items[item * c + i];
    return sum;
  }
  bool is_excluded(std::int64_t q, std::int64_t item) const {
    return std::find(excluded.begin() + row_ptr[q], excluded.begin() + row_ptr[q + 1], item) != excluded.begin() + row_ptr[q + 1];
  }
};

template <class T>
struct Best {
  std::vector<std::int32_t> indices;
  std::vector<T> scores;
};

template <class T>
Best<T> run_top_k(const Case& in, std::int64_t k, int threads) {
  CpuContext ctx(threads);
  Matrix<T> queries(in.n, in.c, in.queries), items(in.v, in.c, in.items, 2), scores(in.n, k);
  Matrix<std::int32_t> indices(in.n, k, 1);
  const auto bias = test::convert<T>(in.bias);
  top_k<T>(ctx, indices.view(), scores.view(), queries.view(), items.view(), view_of(bias), in.lists());
  return {indices.values(), scores.values()};
}

// By sorting every candidate.
Best<double> sorted(const Case& in, std::int64_t k) {
  Best<double> out;
  for (std::int64_t q = 0; q < in.n; ++q) {
    std::vector<std::pair<double, std::int32_t>> all;
    for (std::int64_t v = 0; v < in.v; ++v) {
      if (!in.is_excluded(q, v)) all.emplace_back(-in.score(q, v), static_cast<std::int32_t>(v));
    }
    std::sort(all.begin(), all.end());
    for (std::int64_t j = 0; j < k; ++j) {
      const bool found = j < static_cast<std::int64_t>(all.size());
      out.indices.push_back(found ? all[j].second : -1);
      out.scores.push_back(found ? -all[j].first : -std::numeric_limits<double>::infinity());
    }
  }
  return out;
}

template <class T>
void check_top_k(const Case& in, std::int64_t k) {
  const auto expected = sorted(in, k);
  for (int threads = 1; threads <= 4; ++threads) {
    const auto ran = run_top_k<T>(in, k, threads);
    const std::string what = fmt::format("{} x {} of {}, k {}, {} threads", in.n, in.c, in.v, k, threads);
    ASSERT_EQ(ran.indices, expected.indices) << what;
    ASSERT_EQ(ran.scores, test::convert<T>(expected.scores)) << what;
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
struct Ranks {
  std::vector<std::int32_t> ranks, ties;
  std::vector<T> scores;
};

template <class T>
Ranks<T> run_target_rank(const Case& in, int threads) {
  CpuContext ctx(threads);
  Matrix<T> queries(in.n, in.c, in.queries), items(in.v, in.c, in.items, 2);
  const auto bias = test::convert<T>(in.bias);
  Guarded<std::int32_t> ranks(in.n), ties(in.n);
  Guarded<T> own(in.n);
  target_rank<T>(ctx, ranks.vector(), ties.vector(), own.vector(), queries.view(), items.view(), view_of(bias), view_of(in.targets), in.lists());
  return {ranks.values(), ties.values(), own.values()};
}

template <class T>
void check_target_rank(const Case& in) {
  std::vector<std::int32_t> expected_ranks, expected_ties;
  std::vector<T> expected_scores;
  for (std::int64_t q = 0; q < in.n; ++q) {
    const double mine = in.score(q, in.targets[q]);
    std::int32_t above = 0, equal = 0;
    for (std::int64_t v = 0; v < in.v; ++v) {
      if (v == in.targets[q] || in.is_excluded(q, v)) continue;
      above += in.score(q, v) > mine;
      equal += in.score(q, v) == mine;
    }
    expected_ranks.push_back(1 + above + equal);
    expected_ties.push_back(equal);
    expected_scores.push_back(static_cast<T>(mine));
  }
  for (int threads = 1; threads <= 4; ++threads) {
    const auto ran = run_target_rank<T>(in, threads);
    ASSERT_EQ(ran.ranks, expected_ranks) << in.n << " of " << in.v;
    ASSERT_EQ(ran.ties, expected_ties);
    ASSERT_EQ(ran.scores, expected_scores);
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
