#include "kernels/rms_norm/rms_norm.h"

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
  bool has_residual;
  RmsNormOptions options;
  std::vector<double> x, residual, weight, dy, dsum;

  Problem(std::int64_t n, std::int64_t c, bool with_residual, double rate)
      : rows(n),
        cols(c),
        has_residual(with_residual),
        options{.eps = 1e-6, .dropout = {.rate = rate, .key = {.seed = 11, .step = 3, .stream = 5}}},
        x(test::random_normal<double>(n * c, 1)),
        residual(test::random_normal<double>(n * c, 2)),
        weight(test::random_normal<double>(c, 3)),
        dy(test::random_normal<double>(n * c, 4)),
        dsum(test::random_normal<double>(n * c, 5)) {}
};

template <class T>
struct Forward {
  std::vector<T> y, sum, rstd;
};

template <class T>
Forward<T> forward(const Problem& p, int threads = 2) {
  CpuContext ctx(threads);
  Matrix<T> x(p.rows, p.cols, p.x), residual(p.rows, p.cols, p.residual, 3), weight(1, p.cols, p.weight);
  Matrix<T> y(p.rows, p.cols, 7), sum(p.rows, p.cols, p.cols), rstd(1, p.rows);
  if (p.has_residual) {
    rms_norm_forward<T>(ctx, y, sum, rstd, x, residual, weight, p.options);
    return {y.values(), sum.values(), rstd.values()};
  }
  rms_norm_forward<T>(ctx, y, {}, rstd, x, {}, weight, p.options);
  return {y.values(), x.values(), rstd.values()};
}

// The formula of the contract, one element after the other.
Forward<double> plain_forward(const Problem& p) {
  Forward<double> out;
  const auto mask = test::plain_mask(p.options.dropout, p.rows, p.cols);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    double square = 0;
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const std::int64_t i = n * p.cols + c;
      out.sum.push_back(p.has_residual ? p.residual[i] + mask[i] * p.x[i] : p.x[i]);
      square += out.sum[i] * out.sum[i];
    }
    out.rstd.push_back(1 / std::sqrt(square / static_cast<double>(p.cols) + p.options.eps));
    for (std::int64_t c = 0; c < p.cols; ++c) out.y.push_back(out.sum[n * p.cols + c] * out.rstd[n] * p.weight[c]);
  }
  return out;
}

struct Mode {
  Accumulate dx = Accumulate::kOverwrite, dresidual = Accumulate::kOverwrite, dweight = Accumulate::kOverwrite;
  bool with_dsum = true;
  bool alias = false;  // dresidual is dsum
};

template <class T>
struct Backward {
  std::vector<T> dx, dresidual, dweight;
};

// Outputs that are added to start from 0.5, and the 0.5 is taken off again.
template <class T>
Backward<T> backward(const Problem& p, const Mode& mode, int threads = 2) {
  CpuContext ctx(threads);
  const auto f = forward<T>(p, threads);
  const std::int64_t size = p.rows * p.cols;
  Matrix<T> sum(p.rows, p.cols, f.sum), rstd(1, p.rows, f.rstd), weight(1, p.cols, p.weight),
      dy(p.rows, p.cols, p.dy, 1);
  Matrix<T> dsum(p.rows, p.cols, p.dsum, 2);
  const auto start = [](Accumulate a, std::int64_t n) {
    return std::vector<T>(n, a == Accumulate::kAdd ? T(0.5) : std::numeric_limits<T>::quiet_NaN());
  };
  Matrix<T> dx(p.rows, p.cols, start(mode.dx, size)), dresidual(p.rows, p.cols, start(mode.dresidual, size), 9);
  Matrix<T> dweight(1, p.cols, start(mode.dweight, p.cols));
  View<T, 2> to_residual = mode.alias ? dsum.view() : dresidual.view();
  if (!p.has_residual) to_residual = {};
  rms_norm_backward<T>(ctx, dx, to_residual, dweight, dy, mode.with_dsum ? dsum.view() : View<T, 2>{}, sum, weight,
                       rstd, p.options, mode.dx, mode.dresidual, mode.dweight);
  const auto strip = [](std::vector<T> v, Accumulate a) {
    if (a == Accumulate::kAdd)
      for (auto& e : v) e -= T(0.5);
    return v;
  };
  Backward<T> out{strip(dx.values(), mode.dx), {}, strip(dweight.values(), mode.dweight)};
  if (p.has_residual) out.dresidual = mode.alias ? dsum.values() : strip(dresidual.values(), mode.dresidual);
  return out;
}

class RmsNorm : public testing::TestWithParam<std::tuple<bool, double>> {
 protected:
  bool residual() const { return std::get<0>(GetParam()); }
  double rate() const { return std::get<1>(GetParam()); }
};

TEST_P(RmsNorm, ForwardIsTheFormula) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t rows : {1, 33, 257}) {
      const Problem p(rows, cols, residual(), rate());
      const auto expected = plain_forward(p);
      const auto actual = forward<double>(p);
      const auto single = forward<float>(p);
      const std::string what = std::to_string(rows) + "x" + std::to_string(cols);
      test::expect_close(actual.y, expected.y, test::Tolerance<double>::kRelative, what + " y");
      test::expect_close(actual.sum, expected.sum, test::Tolerance<double>::kRelative, what + " sum");
      test::expect_close(actual.rstd, expected.rstd, test::Tolerance<double>::kRelative, what + " rstd");
      test::expect_close(single.y, expected.y, test::Tolerance<float>::kRelative, what + " float y");
      test::expect_close(single.rstd, expected.rstd, test::Tolerance<float>::kRelative, what + " float rstd");
    }
  }
}

TEST_P(RmsNorm, BackwardIsTheDerivative) {
  for (const bool with_dsum : {false, true}) {
    Problem p(5, 33, residual(), rate());
    const auto objective = [&] {
      const auto f = forward<double>(p, 1);
      double total = 0;
      for (std::size_t i = 0; i < f.y.size(); ++i) total += f.y[i] * p.dy[i] + (with_dsum ? f.sum[i] * p.dsum[i] : 0.0);
      return total;
    };
    const auto g = backward<double>(p, {.with_dsum = with_dsum});
    test::expect_gradient(objective, p.x, g.dx, "dx");
    test::expect_gradient(objective, p.weight, g.dweight, "dweight");
    if (residual()) test::expect_gradient(objective, p.residual, g.dresidual, "dresidual");
  }
}

TEST_P(RmsNorm, BackwardOfFloatIsThatOfDouble) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t rows : {1, 31, 257}) {
      const Problem p(rows, cols, residual(), rate());
      const auto expected = backward<double>(p, {});
      const auto actual = backward<float>(p, {});
      const std::string what = std::to_string(rows) + "x" + std::to_string(cols);
      test::expect_close(actual.dx, expected.dx, test::Tolerance<float>::kRelative, what + " dx");
      test::expect_close(actual.dresidual, expected.dresidual, test::Tolerance<float>::kRelative, what + " dresidual");
      test::expect_close(actual.dweight, expected.dweight, test::Tolerance<float>::kRelative, what + " dweight");
    }
  }
}

TEST_P(RmsNorm, AddsOrOverwrites) {
  const Problem p(130, 65, residual(), rate());
  const auto expected = backward<double>(p, {});
  for (int bits = 1; bits < 8; ++bits) {
    const auto mode = [bits](int b) { return bits >> b & 1 ? Accumulate::kAdd : Accumulate::kOverwrite; };
    const auto actual = backward<double>(p, {.dx = mode(0), .dresidual = mode(1), .dweight = mode(2)});
    test::expect_close(actual.dx, expected.dx, 1e-13, "dx");
    test::expect_close(actual.dresidual, expected.dresidual, 1e-13, "dresidual");
    test::expect_close(actual.dweight, expected.dweight, 1e-13, "dweight");
  }
}

TEST_P(RmsNorm, BitsDoNotDependOnThreads) {
  const Problem p(769, 257, residual(), rate());
  const auto f = forward<float>(p, 1);
  const auto b = backward<float>(p, {}, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    const auto f2 = forward<float>(p, threads);
    const auto b2 = backward<float>(p, {}, threads);
    test::expect_same_bits(f2.y, f.y, "y");
    test::expect_same_bits(b2.dx, b.dx, "dx");
    test::expect_same_bits(b2.dresidual, b.dresidual, "dresidual");
    test::expect_same_bits(b2.dweight, b.dweight, "dweight");
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, RmsNorm,
                         testing::Values(std::tuple{false, 0.0}, std::tuple{true, 0.0}, std::tuple{true, 0.3}),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) ? "residual" : "alone") +
                                  (std::get<1>(info.param) > 0 ? "_dropout" : "");
                         });

TEST(RmsNormAlias, ResidualGradientMayBeTheSumGradient) {
  for (double rate : {0.0, 0.3}) {
    for (std::int64_t cols : {33, 2500}) {  // 2500: more than one piece of a row
      const Problem p(70, cols, true, rate);
      const auto expected = backward<float>(p, {});
      const auto actual = backward<float>(p, {.alias = true});
      test::expect_same_bits(actual.dx, expected.dx, "dx");
      test::expect_same_bits(actual.dresidual, expected.dresidual, "dresidual");
      test::expect_same_bits(actual.dweight, expected.dweight, "dweight");
    }
  }
}

TEST(RmsNormAlias, SumMayBeTheResidualOrTheInput) {
  const Problem p(70, 2500, true, 0.3);
  const auto expected = forward<float>(p);
  for (const bool in_x : {false, true}) {
    CpuContext ctx(2);
    Matrix<float> x(p.rows, p.cols, p.x), residual(p.rows, p.cols, p.residual), weight(1, p.cols, p.weight);
    Matrix<float> y(p.rows, p.cols), rstd(1, p.rows);
    Matrix<float>& sum = in_x ? x : residual;
    rms_norm_forward<float>(ctx, y, sum, rstd, x, residual, weight, p.options);
    test::expect_same_bits(sum.values(), expected.sum, "sum");
    test::expect_same_bits(y.values(), expected.y, "y");
  }
}

TEST(RmsNormOptional, UnwantedGradientsMayBeEmpty) {
  const Problem p(70, 40, true, 0.3);
  const auto expected = backward<double>(p, {});
  const auto f = forward<double>(p);
  CpuContext ctx(1);
  Matrix<double> sum(p.rows, p.cols, f.sum), rstd(1, p.rows, f.rstd), weight(1, p.cols, p.weight),
      dy(p.rows, p.cols, p.dy);
  Matrix<double> dsum(p.rows, p.cols, p.dsum), dx(p.rows, p.cols), dresidual(p.rows, p.cols), dweight(1, p.cols);
  constexpr auto kSet = Accumulate::kOverwrite;
  rms_norm_backward<double>(ctx, dx, {}, {}, dy, dsum, sum, weight, rstd, p.options, kSet, kSet, kSet);
  rms_norm_backward<double>(ctx, {}, dresidual, {}, dy, dsum, sum, weight, rstd, p.options, kSet, kSet, kSet);
  rms_norm_backward<double>(ctx, {}, {}, dweight, dy, dsum, sum, weight, rstd, p.options, kSet, kSet, kSet);
  test::expect_same_bits(dx.values(), expected.dx, "dx");
  test::expect_same_bits(dresidual.values(), expected.dresidual, "dresidual");
  test::expect_same_bits(dweight.values(), expected.dweight, "dweight");
}

TEST(RmsNormOptional, NoRowsClearTheWeightGradient) {
  CpuContext ctx(1);
  Matrix<float> weight(1, 8, std::vector<float>(8, 1.0f)), dweight(1, 8);
  const View<float, 2> none(nullptr, {0, 8});
  rms_norm_backward<float>(ctx, {}, {}, dweight, none, {}, none, weight, View<float, 1>(nullptr, {0}), {},
                           Accumulate::kOverwrite, Accumulate::kOverwrite, Accumulate::kOverwrite);
  EXPECT_EQ(dweight.values(), std::vector<float>(8, 0.0f));
}

TEST(RmsNormErrors, WrongShapesAreNamed) {
  CpuContext ctx(1);
  Matrix<float> a(4, 8, std::vector<float>(32, 1.0f)), b(4, 7, std::vector<float>(28, 1.0f)), weight(1, 8), rstd(1, 4),
      y(4, 8);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, b, {}, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, y, rstd, a, b, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, a, a, weight, {}), CheckError);  // nowhere to put the sum
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, weight, a, {}, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, a, {}, weight, {.dropout = {.rate = 0.5}}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, y, rstd, a, a, weight, {.dropout = {.rate = 1.0}}), CheckError);
  constexpr auto kSet = Accumulate::kOverwrite;
  EXPECT_THROW(rms_norm_backward<float>(ctx, b, {}, {}, a, {}, a, weight, rstd, {}, kSet, kSet, kSet), CheckError);
  EXPECT_THROW(rms_norm_backward<float>(ctx, {}, {}, rstd, a, {}, a, weight, rstd, {}, kSet, kSet, kSet), CheckError);
  EXPECT_THROW(rms_norm_backward<float>(ctx, {}, a, {}, y, a, y, weight, rstd, {}, kSet, Accumulate::kAdd, kSet),
               CheckError);
}

}  // namespace
}  // namespace galrec
