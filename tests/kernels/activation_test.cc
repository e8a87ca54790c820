#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Matrix;

// The formulas of the contract, by the C library.
double plain(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kIdentity:
      return x;
    case ActivationKind::kRelu:
      return x > 0 ? x : 0;
    case ActivationKind::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kGeluErf:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
  }
  return NAN;
}

struct Problem {
  std::int64_t rows, cols;
  ActivationKind kind;
  Dropout dropout;
  std::vector<double> a, b, dy;

  Problem(std::int64_t n, std::int64_t c, ActivationKind f, double rate)
      : rows(n),
        cols(c),
        kind(f),
        dropout{.rate = rate, .key = {.seed = 5, .step = 2, .stream = 9}},
        a(test::random_normal<double>(n * c, 1, 2.0)),
        b(test::random_normal<double>(n * c, 2)),
        dy(test::random_normal<double>(n * c, 3)) {}
};

template <class T>
std::vector<T> forward(const Problem& p, bool gated, int threads = 2) {
  CpuContext ctx(threads);
  Matrix<T> a(p.rows, p.cols, p.a, p.cols), b(p.rows, p.cols, p.b, 3), y(p.rows, p.cols, 1);
  if (gated) {
    gated_activation_forward<T>(ctx, y, a, b, p.kind, p.dropout);
  } else {
    activation_forward<T>(ctx, y, a, p.kind, p.dropout);
  }
  return y.values();
}

template <class T>
struct Gradients {
  std::vector<T> da, db;
};

template <class T>
Gradients<T> backward(const Problem& p, bool gated, Accumulate accumulate = Accumulate::kOverwrite, int threads = 2) {
  CpuContext ctx(threads);
  const bool add = accumulate == Accumulate::kAdd;
  const std::vector<T> start(p.rows * p.cols, add ? T(0.5) : std::numeric_limits<T>::quiet_NaN());
  Matrix<T> a(p.rows, p.cols, p.a, p.cols), b(p.rows, p.cols, p.b, 3), dy(p.rows, p.cols, p.dy, 2);
  Matrix<T> da(p.rows, p.cols, start, 4), db(p.rows, p.cols, start, p.cols);
  if (gated) {
    gated_activation_backward<T>(ctx, da, db, dy, a, b, p.kind, p.dropout, accumulate);
  } else {
    activation_backward<T>(ctx, da, dy, a, p.kind, p.dropout, accumulate);
  }
  Gradients<T> out{da.values(), gated ? db.values() : std::vector<T>{}};
  if (add) {
    for (auto* v : {&out.da, &out.db})
      for (auto& e : *v) e -= T(0.5);
  }
  return out;
}

class Activation : public testing::TestWithParam<std::tuple<ActivationKind, bool, double>> {
 protected:
  ActivationKind kind() const { return std::get<0>(GetParam()); }
  bool gated() const { return std::get<1>(GetParam()); }
  double rate() const { return std::get<2>(GetParam()); }
};

TEST_P(Activation, ForwardIsTheFormula) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t rows : {1, 33}) {
      const Problem p(rows, cols, kind(), rate());
      const auto mask = test::plain_mask(p.dropout, rows, cols);
      std::vector<double> expected;
      for (std::size_t i = 0; i < p.a.size(); ++i)
        expected.push_back(plain(kind(), p.a[i]) * (gated() ? p.b[i] : 1.0) * mask[i]);
      const std::string what = std::to_string(rows) + "x" + std::to_string(cols);
      test::expect_close(forward<double>(p, gated()), expected, test::Tolerance<double>::kRelative, what);
      test::expect_close(forward<float>(p, gated()), expected, 1e-6, what + " float");
    }
  }
}

TEST_P(Activation, BackwardIsTheDerivative) {
  Problem p(4, 33, kind(), rate());
  const auto objective = [&] {
    const auto y = forward<double>(p, gated(), 1);
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * p.dy[i];
    return total;
  };
  const auto g = backward<double>(p, gated());
  test::expect_gradient(objective, p.a, g.da, "da");
  if (gated()) test::expect_gradient(objective, p.b, g.db, "db");
}

TEST_P(Activation, BackwardOfFloatIsThatOfDouble) {
  for (std::int64_t cols : test::hostile_extents()) {
    const Problem p(31, cols, kind(), rate());
    const auto expected = backward<double>(p, gated());
    const auto actual = backward<float>(p, gated());
    test::expect_close(actual.da, expected.da, 2e-6, "da");
    test::expect_close(actual.db, expected.db, 2e-6, "db");
  }
}

TEST_P(Activation, AddsToWhatIsThere) {
  const Problem p(9, 65, kind(), rate());
  const auto expected = backward<double>(p, gated());
  const auto actual = backward<double>(p, gated(), Accumulate::kAdd);
  test::expect_close(actual.da, expected.da, 1e-14, "da");
  test::expect_close(actual.db, expected.db, 1e-14, "db");
}

TEST_P(Activation, BitsDoNotDependOnThreads) {
  const Problem p(257, 257, kind(), rate());
  const auto y = forward<float>(p, gated(), 1);
  const auto g = backward<float>(p, gated(), Accumulate::kOverwrite, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    test::expect_same_bits(forward<float>(p, gated(), threads), y, "y");
    const auto g2 = backward<float>(p, gated(), Accumulate::kOverwrite, threads);
    test::expect_same_bits(g2.da, g.da, "da");
    test::expect_same_bits(g2.db, g.db, "db");
  }
}

TEST_P(Activation, WorksInPlace) {
  const Problem p(33, 2500, kind(), rate());  // 2500: more than one piece of a row
  CpuContext ctx(2);
  Matrix<float> x(p.rows, p.cols, p.a), other(p.rows, p.cols, p.b), dy(p.rows, p.cols, p.dy), kept(p.rows, p.cols, p.a);
  if (gated()) {
    gated_activation_forward<float>(ctx, x, x, other, p.kind, p.dropout);
  } else {
    activation_forward<float>(ctx, x, x, p.kind, p.dropout);
    activation_backward<float>(ctx, dy, dy, kept, p.kind, p.dropout, Accumulate::kOverwrite);
    test::expect_same_bits(dy.values(), backward<float>(p, false).da, "dx in dy");
  }
  test::expect_same_bits(x.values(), forward<float>(p, gated()), "y in x");
}

std::string form_name(const testing::TestParamInfo<std::tuple<ActivationKind, bool, double>>& info) {
  const char* names[] = {"identity", "relu", "gelu_tanh", "gelu_erf"};
  return std::string(names[static_cast<int>(std::get<0>(info.param))]) + (std::get<1>(info.param) ? "_gated" : "") +
         (std::get<2>(info.param) > 0 ? "_dropout" : "");
}
INSTANTIATE_TEST_SUITE_P(Forms, Activation,
                         testing::Combine(testing::Values(ActivationKind::kIdentity, ActivationKind::kRelu,
                                                          ActivationKind::kGeluTanh, ActivationKind::kGeluErf),
                                          testing::Bool(), testing::Values(0.0, 0.25)),
                         form_name);

TEST(ActivationExtremes, LargeInputsAreTheirLimits) {
  const std::vector<float> x = {-1e20f, -1e4f, -40.0f, -20.0f, 0.0f, 20.0f, 40.0f, 1e4f, 1e20f};
  const auto n = static_cast<std::int64_t>(x.size());
  CpuContext ctx(1);
  for (auto kind : {ActivationKind::kRelu, ActivationKind::kGeluTanh, ActivationKind::kGeluErf}) {
    Matrix<float> in(1, n, x), y(1, n), dx(1, n), dy(1, n, std::vector<float>(n, 1.0f));
    activation_forward<float>(ctx, y, in, kind, {});
    activation_backward<float>(ctx, dx, dy, in, kind, {}, Accumulate::kOverwrite);
    for (std::int64_t i = 0; i < n; ++i) {
      const float expected = x[i] > 0 ? x[i] : 0.0f;
      EXPECT_TRUE(std::abs(y.values()[i] - expected) <= 1e-6f * std::abs(expected) + 1e-15f)
          << x[i] << ": " << y.values()[i];
      if (x[i] != 0) {
        EXPECT_TRUE(std::abs(dx.values()[i] - (x[i] > 0 ? 1.0f : 0.0f)) <= 1e-6f) << x[i] << ": " << dx.values()[i];
      }
    }
  }
}

TEST(ActivationExtremes, NanStaysNan) {
  CpuContext ctx(1);
  for (auto kind :
       {ActivationKind::kIdentity, ActivationKind::kRelu, ActivationKind::kGeluTanh, ActivationKind::kGeluErf}) {
    Matrix<float> x(1, 40), y(1, 40, std::vector<float>(40, 0.0f));  // x is poisoned
    activation_forward<float>(ctx, y, x, kind, {});
    for (float v : y.values()) EXPECT_TRUE(std::isnan(v));
  }
}

TEST(DropoutForward, KeepsTheMaskAndIsItsOwnBackward) {
  for (double rate : {0.0, 0.1, 0.75}) {
    for (std::int64_t cols : {1, 31, 769, 2500, 5000}) {
      const std::int64_t rows = 40;
      const Problem p(rows, cols, ActivationKind::kIdentity, rate);
      const auto mask = test::plain_mask(p.dropout, rows, cols);
      std::vector<double> expected, added;
      for (std::size_t i = 0; i < mask.size(); ++i) {
        expected.push_back(p.a[i] * mask[i]);
        added.push_back(p.b[i] + p.a[i] * mask[i]);
      }
      CpuContext ctx(3);
      Matrix<double> x(rows, cols, p.a), y(rows, cols), z(rows, cols, p.b, cols);
      dropout_forward<double>(ctx, y, x, p.dropout, Accumulate::kOverwrite);
      dropout_forward<double>(ctx, z, x, p.dropout, Accumulate::kAdd);
      test::expect_close(y.values(), expected, 1e-15, "y");
      test::expect_close(z.values(), added, 1e-15, "y + dropout(x)");
    }
  }
}

TEST(ActivationErrors, WrongShapesAndAliasesAreNamed) {
  CpuContext ctx(1);
  Matrix<float> a(4, 8, std::vector<float>(32, 1.0f)), b(4, 7, std::vector<float>(28, 1.0f)), y(4, 8), g(4, 8);
  constexpr auto kRelu = ActivationKind::kRelu;
  EXPECT_THROW(activation_forward<float>(ctx, b, a, kRelu, {}), CheckError);
  EXPECT_THROW(activation_backward<float>(ctx, y, b, a, kRelu, {}, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(activation_backward<float>(ctx, y, y, a, kRelu, {}, Accumulate::kAdd), CheckError);
  EXPECT_THROW(gated_activation_forward<float>(ctx, y, a, b, kRelu, {}), CheckError);
  EXPECT_THROW(gated_activation_backward<float>(ctx, y, b, g, a, a, kRelu, {}, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(gated_activation_backward<float>(ctx, g, y, g, a, a, kRelu, {}, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(dropout_forward<float>(ctx, y, b, {}, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(dropout_forward<float>(ctx, y, a, {.rate = -0.1}, Accumulate::kOverwrite), CheckError);
}

}  // namespace
}  // namespace galrec
