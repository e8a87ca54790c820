// The CUDA losses against the double oracle on quantised inputs.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ranking_loss/ranking_loss.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;
constexpr float kLossGradient = 0.7f;

struct Problem {
  std::int64_t rows, cols;
  RankingLossKind kind;
  std::vector<double> x, p, n, start;
};

template <class T>
Problem problem(std::int64_t rows, std::int64_t cols, RankingLossKind kind, double scale = 1.0) {
  const auto make = [&](std::uint64_t seed, double s) {
    return test::quantized<T>(test::random_normal<double>(rows * cols, seed, s));
  };
  return {rows, cols, kind, make(1, scale / std::sqrt(static_cast<double>(cols))), make(2, 1), make(3, 1), make(4, 1)};
}

struct Results {
  std::vector<double> loss, positive, negative, dx, dp, dn;
};

/// Scores that backward gets are the forward's own, so both directions are judged with the errors they have in
/// training.
Results oracle(const Problem& q, Accumulate accumulate) {
  CpuContext cpu(2);
  const auto n = static_cast<std::size_t>(q.rows);
  Results r{{0}, std::vector<double>(n), std::vector<double>(n), q.start, q.start, q.start};
  const auto m = [&](auto& v) { return view_of(v, q.rows, q.cols); };
  const std::vector<double> dloss = {static_cast<double>(kLossGradient)};
  ranking_loss_forward<double>(cpu, view_of(r.loss), view_of(r.positive), view_of(r.negative), m(q.x), m(q.p), m(q.n),
                               q.kind);
  ranking_loss_backward<double>(cpu, m(r.dx), m(r.dp), m(r.dn), view_of(dloss), m(q.x), m(q.p), m(q.n),
                                view_of(r.positive), view_of(r.negative), q.kind, accumulate);
  return r;
}

template <class T>
Results run(CudaContext& ctx, const Problem& q, Accumulate accumulate, std::int64_t gap) {
  const Staged<T> x(ctx, q.rows, q.cols, q.x, gap), p(ctx, q.rows, q.cols, q.p, gap + 8),
      n(ctx, q.rows, q.cols, q.n, gap);
  const Staged<float> loss(ctx, 1, 1), positive(ctx, 1, q.rows), negative(ctx, 1, q.rows),
      dloss(ctx, 1, 1, std::vector<float>{kLossGradient});
  const auto gradient = [&](std::int64_t g) {
    return accumulate == Accumulate::kAdd ? Staged<T>(ctx, q.rows, q.cols, q.start, g)
                                          : Staged<T>(ctx, q.rows, q.cols, g);
  };
  const Staged<T> dx = gradient(gap), dp = gradient(gap + 16), dn = gradient(gap);
  ranking_loss_forward<T>(ctx, loss, positive, negative, x, p, n, q.kind);
  ranking_loss_backward<T>(ctx, dx, dp, dn, dloss, x, p, n, positive, negative, q.kind, accumulate);
  ctx.synchronize();
  return {loss.doubles(), positive.doubles(), negative.doubles(), dx.doubles(), dp.doubles(), dn.doubles()};
}

template <class T>
void expect_close(const Results& a, const Results& e, const std::string& what) {
  test::expect_close(a.loss, e.loss, 2e-6, what + " loss");
  test::expect_close(a.positive, e.positive, 2e-6, what + " s+");
  test::expect_close(a.negative, e.negative, 2e-6, what + " s-");
  test::expect_close(a.dx, e.dx, test::Tolerance<T>::kRelative, what + " dx");
  test::expect_close(a.dp, e.dp, test::Tolerance<T>::kRelative, what + " dp");
  test::expect_close(a.dn, e.dn, test::Tolerance<T>::kRelative, what + " dn");
}

template <class B>
class RankingLossCuda : public testing::Test {};
TYPED_TEST_SUITE(RankingLossCuda, test::CudaBackends, test::BackendNames);

constexpr RankingLossKind kKinds[] = {RankingLossKind::kBpr, RankingLossKind::kBce};

TYPED_TEST(RankingLossCuda, EqualsTheOracle) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto kind : kKinds) {
    for (const std::int64_t cols : {1, 31, 33, 64, 127, 128, 256, 257, 769}) {
      for (const std::int64_t rows : {1, 33, 257}) {
        const auto q = problem<T>(rows, cols, kind);
        for (const std::int64_t gap : {0, 3}) {
          for (const auto accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
            expect_close<T>(run<T>(ctx, q, accumulate, gap), oracle(q, accumulate),
                            fmt::format("{} x {}, gap {}", rows, cols, gap));
          }
        }
      }
    }
  }
}

TYPED_TEST(RankingLossCuda, BitsDoNotDependOnOrders) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto kind : kKinds) {
    const auto q = problem<T>(769, 72, kind);
    const auto once = run<T>(ctx, q, Accumulate::kAdd, 0);
    test::for_each_schedule([&](const std::string& what) {
      const auto again = run<T>(ctx, q, Accumulate::kAdd, 0);
      test::expect_same_bits(again.loss, once.loss, what);
      test::expect_same_bits(again.dx, once.dx, what);
      test::expect_same_bits(again.dp, once.dp, what);
      test::expect_same_bits(again.dn, once.dn, what);
    });
  }
}

TYPED_TEST(RankingLossCuda, LargeScoresDoNotOverflow) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto kind : kKinds) {
    const auto q = problem<T>(64, 32, kind, 500.0);
    const auto expected = oracle(q, Accumulate::kOverwrite), actual = run<T>(ctx, q, Accumulate::kOverwrite, 0);
    ASSERT_GT(expected.loss[0], 100.0);
    test::expect_close(actual.loss, expected.loss, 2e-6, "loss");
    test::expect_close(actual.dp, expected.dp, std::max(1e-4, test::Tolerance<T>::kRelative), "dp");
  }
}

TYPED_TEST(RankingLossCuda, HalfSquaredSum) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Staged<float> out(ctx, 1, 1);
  for (const std::int64_t cols : {1, 31, 33, 64, 127, 256, 769}) {
    for (const std::int64_t rows : {0, 1, 33, 769}) {
      const auto x = test::quantized<T>(test::random_normal<double>(rows * cols, 1));
      double expected = 0;
      for (double v : x) expected += 0.5 * v * v;
      for (const std::int64_t gap : {0, 3}) {
        const Staged<T> staged(ctx, rows, cols, x, gap);
        half_squared_sum<T>(ctx, out, staged);
        EXPECT_TRUE(std::abs(out.doubles()[0] - expected) <= 1e-7 * expected)
            << rows << "x" << cols << ": " << out.doubles()[0];
      }
    }
  }
  const Staged<T> x(ctx, 769, 72, test::random_normal<double>(769 * 72, 1));
  half_squared_sum<T>(ctx, out, x);
  const auto once = out.values();
  test::for_each_schedule([&](const std::string& what) {
    half_squared_sum<T>(ctx, out, x);
    test::expect_same_bits(out.values(), once, what);
  });
}

// More chunks than the last sum has threads.
TYPED_TEST(RankingLossCuda, SumsOfManyChunks) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::int64_t rows = 64 * 1030 + 5;
  const Staged<T> x(ctx, rows, 1, std::vector<double>(static_cast<std::size_t>(rows), 2.0));
  const Staged<float> out(ctx, 1, 1);
  half_squared_sum<T>(ctx, out, x);
  EXPECT_EQ(out.doubles()[0], 2.0 * static_cast<double>(rows));
}

TYPED_TEST(RankingLossCuda, WrongShapesAreNamed) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Staged<T> a(ctx, 4, 8), b(ctx, 4, 7), y(ctx, 4, 8);
  const Staged<float> s(ctx, 1, 4), wrong(ctx, 1, 5), loss(ctx, 1, 1);
  const auto kind = RankingLossKind::kBpr;
  const auto add = Accumulate::kAdd;
  EXPECT_THROW(ranking_loss_forward<T>(ctx, loss, s, s, a, b, a, kind), CheckError);
  EXPECT_THROW(ranking_loss_forward<T>(ctx, loss, wrong, s, a, a, a, kind), CheckError);
  EXPECT_THROW(ranking_loss_forward<T>(ctx, s, s, s, a, a, a, kind), CheckError);
  const View<T, 2> none(nullptr, {0, 8});
  const View<float, 1> no_scores(nullptr, {0});
  EXPECT_THROW(ranking_loss_forward<T>(ctx, loss, no_scores, no_scores, none, none, none, kind), CheckError);
  EXPECT_THROW(ranking_loss_backward<T>(ctx, y, b, y, loss, a, a, a, s, s, kind, add), CheckError);
  EXPECT_THROW(ranking_loss_backward<T>(ctx, b, b, b, loss, a, a, a, s, s, kind, add), CheckError);
  EXPECT_THROW(ranking_loss_backward<T>(ctx, y, y, y, s, a, a, a, s, s, kind, add), CheckError);
  EXPECT_THROW(ranking_loss_backward<T>(ctx, y, y, y, loss, a, a, a, s, wrong, kind, add), CheckError);
  EXPECT_THROW(half_squared_sum<T>(ctx, s, a), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
