#include "kernels/ranking_loss/ranking_loss.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Matrix;

struct Problem {
  std::int64_t rows, cols;
  RankingLossKind kind;
  std::vector<double> x, p, n;

  Problem(std::int64_t r, std::int64_t c, RankingLossKind k, double scale = 1.0)
      : rows(r),
        cols(c),
        kind(k),
        x(test::random_normal<double>(r * c, 1, scale / std::sqrt(static_cast<double>(c)))),
        p(test::random_normal<double>(r * c, 2)),
        n(test::random_normal<double>(r * c, 3)) {}
};

template <class T>
struct Forward {
  std::vector<T> loss, positive, negative;
};

template <class T>
Forward<T> forward(const Problem& q, int threads = 2) {
  CpuContext ctx(threads);
  Matrix<T> x(q.rows, q.cols, q.x), p(q.rows, q.cols, q.p, q.cols), n(q.rows, q.cols, q.n, 1);
  Matrix<T> loss(1, 1), positive(1, q.rows), negative(1, q.rows);
  ranking_loss_forward<T>(ctx, loss, positive, negative, x, p, n, q.kind);
  return {loss.values(), positive.values(), negative.values()};
}

Forward<double> plain_forward(const Problem& q) {
  Forward<double> out;
  double total = 0;
  for (std::int64_t r = 0; r < q.rows; ++r) {
    double up = 0, down = 0;
    for (std::int64_t c = r * q.cols; c < (r + 1) * q.cols; ++c) {
      up += q.x[c] * q.p[c];
      down += q.x[c] * q.n[c];
    }
    out.positive.push_back(up);
    out.negative.push_back(down);
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    total -= q.kind == RankingLossKind::kBpr ? std::log(sigmoid(up - down))
                                             : std::log(sigmoid(up)) + std::log(1 - sigmoid(down));
  }
  out.loss.push_back(total / static_cast<double>(q.rows));
  return out;
}

template <class T>
struct Gradients {
  std::vector<T> dx, dp, dn;
};

constexpr double kLossGradient = 0.7;

template <class T>
Gradients<T> backward(const Problem& q, Accumulate accumulate = Accumulate::kOverwrite, int threads = 2) {
  CpuContext ctx(threads);
  const bool add = accumulate == Accumulate::kAdd;
  const auto f = forward<T>(q);
  const std::vector<T> start(q.rows * q.cols, add ? T(0.5) : std::numeric_limits<T>::quiet_NaN());
  Matrix<T> x(q.rows, q.cols, q.x), p(q.rows, q.cols, q.p, q.cols), n(q.rows, q.cols, q.n, 1);
  Matrix<T> up(1, q.rows, f.positive), down(1, q.rows, f.negative);
  Matrix<T> dx(q.rows, q.cols, start, 2), dp(q.rows, q.cols, start, 3), dn(q.rows, q.cols, start, q.cols);
  Matrix<T> dloss(1, 1, std::vector<double>{kLossGradient});
  ranking_loss_backward<T>(ctx, dx, dp, dn, dloss, x, p, n, up, down, q.kind, accumulate);
  Gradients<T> out{dx.values(), dp.values(), dn.values()};
  if (add) {
    for (auto* v : {&out.dx, &out.dp, &out.dn})
      for (auto& e : *v) e -= T(0.5);
  }
  return out;
}

class RankingLoss : public testing::TestWithParam<RankingLossKind> {};

TEST_P(RankingLoss, ForwardIsTheFormula) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t rows : {1, 33, 769}) {
      const Problem q(rows, cols, GetParam());
      const auto expected = plain_forward(q), exact = forward<double>(q);
      const auto single = forward<float>(q);
      const std::string what = std::to_string(rows) + "x" + std::to_string(cols);
      test::expect_close(exact.loss, expected.loss, test::Tolerance<double>::kRelative, what + " loss");
      test::expect_close(exact.positive, expected.positive, test::Tolerance<double>::kRelative, what + " s+");
      test::expect_close(exact.negative, expected.negative, test::Tolerance<double>::kRelative, what + " s-");
      test::expect_close(single.loss, expected.loss, 2e-6, what + " float loss");
    }
  }
}

TEST_P(RankingLoss, BackwardIsTheDerivative) {
  Problem q(5, 33, GetParam());
  const auto objective = [&] { return kLossGradient * forward<double>(q, 1).loss[0]; };
  const auto g = backward<double>(q);
  test::expect_gradient(objective, q.x, g.dx, "dx");
  test::expect_gradient(objective, q.p, g.dp, "dpositive");
  test::expect_gradient(objective, q.n, g.dn, "dnegative");
}

TEST_P(RankingLoss, BackwardOfFloatIsThatOfDoubleAndAdds) {
  for (std::int64_t cols : test::hostile_extents()) {
    const Problem q(33, cols, GetParam());
    const auto expected = backward<double>(q), added = backward<double>(q, Accumulate::kAdd);
    const auto actual = backward<float>(q);
    test::expect_close(actual.dx, expected.dx, 5e-6, "dx");
    test::expect_close(actual.dp, expected.dp, 5e-6, "dp");
    test::expect_close(actual.dn, expected.dn, 5e-6, "dn");
    test::expect_close(added.dx, expected.dx, 1e-12, "dx added");
    test::expect_close(added.dp, expected.dp, 1e-12, "dp added");
    test::expect_close(added.dn, expected.dn, 1e-12, "dn added");
  }
}

TEST_P(RankingLoss, BitsDoNotDependOnThreads) {
  const Problem q(2049, 65, GetParam());
  const auto f = forward<float>(q, 1);
  const auto g = backward<float>(q, Accumulate::kOverwrite, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    test::expect_same_bits(forward<float>(q, threads).loss, f.loss, "loss");
    const auto g2 = backward<float>(q, Accumulate::kOverwrite, threads);
    test::expect_same_bits(g2.dx, g.dx, "dx");
    test::expect_same_bits(g2.dp, g.dp, "dp");
    test::expect_same_bits(g2.dn, g.dn, "dn");
  }
}

TEST_P(RankingLoss, LargeScoresDoNotOverflow) {
  const Problem q(64, 33, GetParam(), 500.0);
  const auto f = forward<float>(q);
  double expected = 0;
  for (std::size_t r = 0; r < f.positive.size(); ++r) {
    const auto softplus = [](double v) { return v > 0 ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v)); };
    const double up = f.positive[r], down = f.negative[r];
    expected += GetParam() == RankingLossKind::kBpr ? softplus(down - up) : softplus(-up) + softplus(down);
  }
  expected /= static_cast<double>(f.positive.size());
  ASSERT_GT(expected, 100.0);
  EXPECT_TRUE(std::abs(f.loss[0] - expected) <= 1e-6 * expected) << f.loss[0] << " and " << expected;
  test::expect_close(backward<float>(q).dx, backward<double>(q).dx, 1e-5, "dx");
}

TEST_P(RankingLoss, WrongShapesAreNamed) {
  CpuContext ctx(1);
  Matrix<float> a(4, 8, std::vector<float>(32, 1.0f)), b(4, 7), y(4, 8), s(1, 4), wrong(1, 5), loss(1, 1);
  EXPECT_THROW(ranking_loss_forward<float>(ctx, loss, s, s, a, b, a, GetParam()), CheckError);
  EXPECT_THROW(ranking_loss_forward<float>(ctx, loss, wrong, s, a, a, a, GetParam()), CheckError);
  EXPECT_THROW(ranking_loss_forward<float>(ctx, s, s, s, a, a, a, GetParam()), CheckError);
  const View<float, 2> none(nullptr, {0, 8});
  EXPECT_THROW(ranking_loss_forward<float>(ctx, loss, View<float, 1>(nullptr, {0}), View<float, 1>(nullptr, {0}), none,
                                           none, none, GetParam()),
               CheckError);
  EXPECT_THROW(ranking_loss_backward<float>(ctx, y, b, y, loss, a, a, a, s, s, GetParam(), Accumulate::kAdd), CheckError);
  EXPECT_THROW(ranking_loss_backward<float>(ctx, y, y, y, loss, a, a, a, s, wrong, GetParam(), Accumulate::kAdd),
               CheckError);
}

INSTANTIATE_TEST_SUITE_P(Kinds, RankingLoss, testing::Values(RankingLossKind::kBpr, RankingLossKind::kBce),
                         [](const auto& info) { return info.param == RankingLossKind::kBpr ? "bpr" : "bce"; });

TEST(HalfSquaredSum, IsTheSumForAnyThreads) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t rows : {1, 33, 769}) {
      const auto x = test::random_normal<double>(rows * cols, 1);
      double expected = 0;
      for (double v : x) expected += 0.5 * v * v;
      std::vector<float> first;
      for (int threads = 1; threads <= 4; ++threads) {
        CpuContext ctx(threads);
        Matrix<double> in(rows, cols, x), out(1, 1);
        Matrix<float> single(rows, cols, x), single_out(1, 1);
        half_squared_sum<double>(ctx, out, in);
        half_squared_sum<float>(ctx, single_out, single);
        test::expect_close(out.values(), std::vector<double>{expected}, 1e-12, "sum");
        test::expect_close(single_out.values(), std::vector<double>{expected}, 1e-6, "float sum");
        if (threads == 1) first = single_out.values();
        test::expect_same_bits(single_out.values(), first, "float sum");
      }
    }
  }
  CpuContext ctx(1);
  Matrix<float> out(1, 1);
  half_squared_sum<float>(ctx, out, View<float, 2>(nullptr, {0, 8}));
  EXPECT_EQ(out.values()[0], 0.0f);
}

}  // namespace
}  // namespace galrec
