#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/guarded.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::convert;
using test::Guarded;
using test::Matrix;
using test::Tolerance;

const std::vector<double> kOne = {1.0};

struct Inputs {
  std::int64_t n, c, v;
  double scale;
  std::vector<double> x, w, bias;
  std::vector<std::int32_t> targets;

  Inputs(std::int64_t rows, std::int64_t cols, std::int64_t vocabulary, double s = 0.7)
      : n(rows), c(cols), v(vocabulary), scale(s), x(test::random_normal<double>(n * c, 1)),
        w(test::random_normal<double>(v * c, 2, 1.0 / std::sqrt(static_cast<double>(c)))),
        bias(test::random_normal<double>(v, 3)), targets(test::random_ids(n, static_cast<std::int32_t>(v), 4)) {
    targets.front() = 0;
    targets.back() = static_cast<std::int32_t>(v - 1);
  }
};

struct Results {
  double loss = 0;
  std::vector<double> losses, lse, dx, dw, dbias;
};

// The definition, element by element, in double.
Results naive(const Inputs& in, double dloss) {
  Results out;
  out.dx.assign(in.n * in.c, 0);
  out.dw.assign(in.v * in.c, 0);
  out.dbias.assign(in.v, 0);
  for (std::int64_t n = 0; n < in.n; ++n) {
    std::vector<double> z(in.v);
    for (std::int64_t v = 0; v < in.v; ++v) {
      for (std::int64_t c = 0; c < in.c; ++c) z[v] += in.scale * in.x[n * in.c + c] * in.w[v * in.c + c];
      z[v] += in.bias[v];
    }
    const double top = *std::max_element(z.begin(), z.end());
    double sum = 0;
    for (double value : z) sum += std::exp(value - top);
    out.lse.push_back(top + std::log(sum));
    out.losses.push_back(out.lse.back() - z[in.targets[n]]);
    out.loss += out.losses.back() / static_cast<double>(in.n);
    for (std::int64_t v = 0; v < in.v; ++v) {
      const double g = dloss / static_cast<double>(in.n) * (std::exp(z[v] - top) / sum - (v == in.targets[n] ? 1 : 0));
      out.dbias[v] += g;
      for (std::int64_t c = 0; c < in.c; ++c) {
        out.dx[n * in.c + c] += in.scale * g * in.w[v * in.c + c];
        out.dw[v * in.c + c] += in.scale * g * in.x[n * in.c + c];
      }
    }
  }
  return out;
}

template <class T>
struct Ran {
  std::vector<T> loss, losses, lse, dx, dw, dbias;
};

// Forward and backward on strided views; `before` is what the gradients hold (and are added to) under kAdd.
template <class T>
Ran<T> run(const Inputs& in, int threads, double dloss, Accumulate accumulate, double before = 0) {
  CpuContext ctx(threads);
  Matrix<T> x(in.n, in.c, in.x), w(in.v, in.c, in.w, 3);
  const auto bias = convert<T>(in.bias);
  Guarded<T> loss(1), losses(in.n), lse(in.n);
  linear_cross_entropy_forward<T>(ctx, loss.vector(), losses.vector(), lse.vector(), x.view(), w.view(), view_of(bias),
                                  view_of(in.targets), in.scale);
  const T filler = accumulate == Accumulate::kAdd ? static_cast<T>(before) : std::numeric_limits<T>::quiet_NaN();
  Matrix<T> dx(in.n, in.c, std::vector<T>(in.n * in.c, filler)), dw(in.v, in.c, std::vector<T>(in.v * in.c, filler));
  Guarded<T> dbias(std::vector<T>(in.v, filler));
  const std::vector<T> seed = {static_cast<T>(dloss)};
  linear_cross_entropy_backward<T>(ctx, dx.view(), dw.view(), dbias.vector(), view_of(seed), x.view(), w.view(), view_of(bias),
                                   view_of(in.targets), lse.vector(), in.scale, accumulate, accumulate);
  return {loss.values(), losses.values(), lse.values(), dx.values(), dw.values(), dbias.values()};
}

template <class T>
void expect_equal(const Ran<T>& ran, const Results& expected, const std::string& what) {
  const double tolerance = Tolerance<T>::kRelative;
  test::expect_close(ran.loss, std::vector<double>{expected.loss}, tolerance, what + " loss");
  test::expect_close(ran.losses, expected.losses, tolerance, what + " losses");
  test::expect_close(ran.lse, expected.lse, tolerance, what + " lse");
  test::expect_close(ran.dx, expected.dx, tolerance, what + " dx");
  test::expect_close(ran.dw, expected.dw, tolerance, what + " dw");
  test::expect_close(ran.dbias, expected.dbias, tolerance, what + " dbias");
}

TEST(LinearCrossEntropy, EqualsTheDefinitionOnHostileShapes) {
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (const std::int64_t v : {sizes[(i + 2) % sizes.size()], sizes[(i + 4) % sizes.size()]}) {
      const Inputs in(sizes[i], sizes[(i + 1) % sizes.size()] % 300 + 1, v);
      const std::string what = fmt::format("{} x {} x {}", in.n, in.c, in.v);
      const auto expected = naive(in, 1.5);
      expect_equal(run<double>(in, 2, 1.5, Accumulate::kOverwrite), expected, what + " double");
      expect_equal(run<float>(in, 2, 1.5, Accumulate::kOverwrite), expected, what + " float");
    }
  }
}

// 40,000 columns make chunks of 209 rows (float) or 104 (double): three and five of them.
TEST(LinearCrossEntropy, ManyChunksEqualTheDefinition) {
  const Inputs in(500, 5, 40000);
  const auto expected = naive(in, 1);
  expect_equal(run<float>(in, 2, 1, Accumulate::kOverwrite), expected, "float");
  expect_equal(run<double>(in, 2, 1, Accumulate::kOverwrite), expected, "double");
}

TEST(LinearCrossEntropy, AddsToGradients) {
  for (const Inputs& in : {Inputs(33, 31, 127), Inputs(300, 3, 40000)}) {
    auto expected = naive(in, 2);
    for (auto* gradient : {&expected.dx, &expected.dw, &expected.dbias}) {
      for (double& value : *gradient) value += 0.25;
    }
    expect_equal(run<float>(in, 2, 2, Accumulate::kAdd, 0.25), expected, "float");
    expect_equal(run<double>(in, 2, 2, Accumulate::kAdd, 0.25), expected, "double");
  }
}

TEST(LinearCrossEntropy, GradientsEqualCentralDifferences) {
  Inputs in(7, 9, 33);
  const auto loss = [&] { return naive(in, 1).loss; };
  // The kernel's own forward as well: backward must be the derivative of what forward computes.
  const auto kernel_loss = [&] { return run<double>(in, 1, 1, Accumulate::kOverwrite).loss[0]; };
  const auto ran = run<double>(in, 1, 1, Accumulate::kOverwrite);
  test::expect_gradient(loss, in.x, ran.dx, "dx");
  test::expect_gradient(loss, in.w, ran.dw, "dw");
  test::expect_gradient(loss, in.bias, ran.dbias, "dbias");
  test::expect_gradient(kernel_loss, in.x, ran.dx, "dx (kernel)");
  test::expect_gradient(kernel_loss, in.w, ran.dw, "dw (kernel)");
  test::expect_gradient(kernel_loss, in.bias, ran.dbias, "dbias (kernel)");
}

template <class T>
void expect_same_for_all_threads(const Inputs& in) {
  const auto one = run<T>(in, 1, 1, Accumulate::kOverwrite);
  for (int threads = 2; threads <= 4; ++threads) {
    const auto more = run<T>(in, threads, 1, Accumulate::kOverwrite);
    test::expect_same_bits(more.loss, one.loss, "loss");
    test::expect_same_bits(more.losses, one.losses, "losses");
    test::expect_same_bits(more.lse, one.lse, "lse");
    test::expect_same_bits(more.dx, one.dx, "dx");
    test::expect_same_bits(more.dw, one.dw, "dw");
    test::expect_same_bits(more.dbias, one.dbias, "dbias");
  }
}

TEST(LinearCrossEntropy, BitsDoNotDependOnThreads) {
  for (const Inputs& in : {Inputs(257, 127, 769), Inputs(230, 31, 40000)}) {
    expect_same_for_all_threads<float>(in);
    expect_same_for_all_threads<double>(in);
  }
}

// Up to 64 rows take a path of their own, block by block of classes.
TEST(LinearCrossEntropy, BitsOfFewRowsDoNotDependOnThreads) {
  for (const Inputs& in : {Inputs(1, 31, 2500), Inputs(8, 64, 5000), Inputs(33, 127, 1031), Inputs(64, 33, 3001)}) {
    expect_same_for_all_threads<float>(in);
    expect_same_for_all_threads<double>(in);
  }
}

TEST(LinearCrossEntropy, GradientsAndBiasAreOptional) {
  const Inputs in(33, 31, 127);
  CpuContext ctx(2);
  auto no_bias = in;
  std::fill(no_bias.bias.begin(), no_bias.bias.end(), 0.0);
  const auto expected = naive(no_bias, 1);
  Guarded<double> loss(1), losses(in.n), lse(in.n), dx(in.n * in.c), dw(in.v * in.c), dbias(in.v);
  const auto x = view_of(in.x, in.n, in.c), w = view_of(in.w, in.v, in.c);
  linear_cross_entropy_forward<double>(ctx, loss.vector(), losses.vector(), lse.vector(), x, w, {}, view_of(in.targets), in.scale);
  test::expect_close(losses.values(), expected.losses, 1e-12, "losses");
  const auto backward = [&](View<double, 2> to_x, View<double, 2> to_w, View<double, 1> to_bias) {
    linear_cross_entropy_backward<double>(ctx, to_x, to_w, to_bias, view_of(kOne), x, w, {}, view_of(in.targets), lse.vector(), in.scale,
                                          Accumulate::kOverwrite, Accumulate::kOverwrite);
  };
  backward(dx.matrix(in.n, in.c), {}, {});
  backward({}, dw.matrix(in.v, in.c), {});
  backward({}, {}, dbias.vector());
  test::expect_close(dx.values(), expected.dx, 1e-12, "dx");
  test::expect_close(dw.values(), expected.dw, 1e-12, "dw");
  test::expect_close(dbias.values(), expected.dbias, 1e-12, "dbias");
}

// Rows [40, 73) of a larger head, as `loss.columns = items` uses it: the other rows' gradients stay alone.
TEST(LinearCrossEntropy, WorksOnASliceOfAHead) {
  const Inputs in(31, 33, 33);
  CpuContext ctx(2);
  std::vector<double> head = test::random_normal<double>(100 * in.c, 9);
  std::copy(in.w.begin(), in.w.end(), head.begin() + 40 * in.c);
  std::vector<double> gradient(head.size(), 7.0);
  const auto w = view_of(head, 100, in.c).slice_rows(40, in.v), dw = view_of(gradient, 100, in.c).slice_rows(40, in.v);
  Guarded<double> loss(1), losses(in.n), lse(in.n);
  const auto x = view_of(in.x, in.n, in.c);
  linear_cross_entropy_forward<double>(ctx, loss.vector(), losses.vector(), lse.vector(), x, w, view_of(in.bias), view_of(in.targets), in.scale);
  linear_cross_entropy_backward<double>(ctx, {}, dw, {}, view_of(kOne), x, w, view_of(in.bias), view_of(in.targets), lse.vector(), in.scale,
                                        Accumulate::kOverwrite, Accumulate::kOverwrite);
  const auto expected = naive(in, 1);
  test::expect_close(losses.values(), expected.losses, 1e-12, "losses");
  test::expect_close(std::vector<double>(gradient.begin() + 40 * in.c, gradient.begin() + 73 * in.c), expected.dw, 1e-12, "dw");
  for (std::int64_t i = 0; i < 100 * in.c; ++i) {
    if (i < 40 * in.c || i >= 73 * in.c) {
      ASSERT_EQ(gradient[i], 7.0) << i;
    }
  }
}

// Logits around +-2000 overflow every exponential that is not shifted by the exact maximum.
TEST(LinearCrossEntropy, SurvivesHugeLogits) {
  Inputs in(31, 33, 257);
  for (double& value : in.x) value *= 1024;
  const auto expected = naive(in, 1);
  ASSERT_GT(*std::max_element(expected.lse.begin(), expected.lse.end()), 1000.0);
  expect_equal(run<float>(in, 2, 1, Accumulate::kOverwrite), expected, "float");
}

TEST(LinearCrossEntropy, NotANumberReachesTheLoss) {
  Inputs in(31, 33, 257);
  in.w[100] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(run<float>(in, 1, 1, Accumulate::kOverwrite).loss[0]));
  EXPECT_TRUE(std::isnan(run<double>(in, 1, 1, Accumulate::kOverwrite).loss[0]));
}

TEST(LinearCrossEntropy, RefusesBadArguments) {
  const Inputs in(3, 4, 5);
  CpuContext ctx(1);
  std::vector<double> loss(1), rows(3), four(4), dx(12), dw(20);
  const auto x = view_of(in.x, 3, 4), w = view_of(in.w, 5, 4);
  const auto forward = [&](View<double, 1> losses, View<const double, 2> a, View<const double, 1> b, const std::vector<std::int32_t>& targets) {
    linear_cross_entropy_forward<double>(ctx, view_of(loss), losses, view_of(rows), a, w, b, view_of(targets), 1);
  };
  EXPECT_NO_THROW(forward(view_of(rows), x, view_of(in.bias), {0, 1, 4}));
  EXPECT_THROW(forward(view_of(rows), x, view_of(in.bias), {0, 1, 5}), CheckError);
  EXPECT_THROW(forward(view_of(rows), x, view_of(in.bias), {0, -1, 4}), CheckError);
  EXPECT_THROW(forward(view_of(rows), x, view_of(in.bias), {0, 1}), CheckError);
  EXPECT_THROW(forward(view_of(four), x, view_of(in.bias), {0, 1, 4}), CheckError);
  EXPECT_THROW(forward(view_of(rows), x.slice_cols(0, 3), view_of(in.bias), {0, 1, 4}), CheckError);
  EXPECT_THROW(forward(view_of(rows), x, view_of(four), {0, 1, 4}), CheckError);
  const auto backward = [&](View<double, 2> to_x, View<double, 2> to_w, View<double, 1> to_bias) {
    linear_cross_entropy_backward<double>(ctx, to_x, to_w, to_bias, view_of(kOne), x, w, {}, view_of(in.targets), view_of(rows), 1,
                                          Accumulate::kOverwrite, Accumulate::kOverwrite);
  };
  EXPECT_NO_THROW(backward(view_of(dx, 3, 4), view_of(dw, 5, 4), {}));
  EXPECT_THROW(backward(view_of(dx, 4, 3), {}, {}), CheckError);
  EXPECT_THROW(backward({}, view_of(dw, 4, 5), {}), CheckError);
  EXPECT_THROW(backward({}, {}, view_of(four)), CheckError);
}

}  // namespace
}  // namespace galrec
