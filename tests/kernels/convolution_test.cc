#include "kernels/convolution/convolution.h"

#include <gtest/gtest.h>

#include "tests/kernels/convolution_cases.h"
#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/matrix.h"

namespace galrec {
namespace {

using test::Matrix;
using Case = test::ConvolutionCase;
using Results = test::ConvolutionResults;

template <class T>
Results run(const Case& c, const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& bias,
            const std::vector<double>& dy, Accumulate accumulate = Accumulate::kOverwrite, int threads = 2) {
  CpuContext ctx(threads);
  const auto start = [&](std::int64_t n) {
    return std::vector<double>(static_cast<std::size_t>(n), accumulate == Accumulate::kAdd ? 0.5 : std::nan(""));
  };
  const std::int64_t x_rows = c.x_rows(), y_rows = c.y_rows(), depth = c.depth();
  Matrix<T> in(x_rows, c.channels, x, c.gap), weight(c.filters, depth, w, c.gap),
      b(1, c.filters, bias.empty() ? start(c.filters) : bias), gradient(y_rows, c.filters, dy, c.gap), y(y_rows, c.filters, c.gap),
      dx(x_rows, c.channels, start(x_rows * c.channels), c.gap), dw(c.filters, depth, start(c.filters * depth), c.gap);
  convolution_forward<T>(ctx, y, in, weight, bias.empty() ? View<T, 1>() : b.vector(), c.options);
  convolution_backward_input<T>(ctx, dx, gradient, weight, c.options, accumulate);
  convolution_backward_weight<T>(ctx, dw, gradient, in, c.options, accumulate);
  return {test::convert<double>(y.values()), test::convert<double>(dx.values()), test::convert<double>(dw.values())};
}

template <class T>
Results run(const Case& c, Accumulate accumulate = Accumulate::kOverwrite, int threads = 2) {
  return run<T>(c, c.x(), c.w(), c.bias(), c.dy(), accumulate, threads);
}

TEST(Convolution, EqualsTheDefinitionOnHostileShapes) {
  for (const auto& c : test::convolution_cases()) {
    for (const auto accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
      const auto expected = test::naive_convolution(c, c.x(), c.w(), c.bias(), c.dy(), accumulate);
      const auto check = [&](const Results& actual, double tolerance, const std::string& type) {
        test::expect_close(actual.y, expected.y, tolerance, c.name() + type + " y");
        test::expect_close(actual.dx, expected.dx, tolerance, c.name() + type + " dx");
        test::expect_close(actual.dw, expected.dw, tolerance, c.name() + type + " dw");
      };
      check(run<double>(c, accumulate), test::Tolerance<double>::kRelative, " double");
      check(run<float>(c, accumulate), test::Tolerance<float>::kRelative, " float");
    }
  }
}

TEST(Convolution, BackwardIsTheDerivative) {
  for (const auto& options :
       {ConvolutionOptions{.image = {5, 1}, .kernel = {3, 1}},
        ConvolutionOptions{.image = {5, 4}, .kernel = {2, 3}, .stride = {2, 1}, .padding = {1, 2}, .dilation = {2, 1}}}) {
    const Case c{3, 4, 5, options};
    auto x = c.x(), w = c.w();
    const auto dy = c.dy();
    const auto objective = [&] {
      const auto y = run<double>(c, x, w, c.bias(), dy, Accumulate::kOverwrite, 1).y;
      double total = 0;
      for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
      return total;
    };
    const auto gradients = run<double>(c);
    test::expect_gradient(objective, x, gradients.dx, "dx");
    test::expect_gradient(objective, w, gradients.dw, "dw");
  }
}

TEST(Convolution, BiasIsOptional) {
  const Case c{7, 8, 5, {.image = {6, 1}, .kernel = {3, 1}}};
  const auto expected = test::naive_convolution(c, c.x(), c.w(), {}, c.dy(), Accumulate::kOverwrite);
  test::expect_close(run<double>(c, c.x(), c.w(), {}, c.dy()).y, expected.y, test::Tolerance<double>::kRelative, "y");
}

// More outputs than one slab of the weights' gradient, blocks that end within an image, patches that are x itself.
TEST(Convolution, BitsDoNotDependOnThreads) {
  for (const auto& c :
       {Case{997, 64, 16, {.image = {5, 1}, .kernel = {3, 1}}}, Case{300, 1, 4, {.image = {5, 64}, .kernel = {5, 1}}},
        Case{2000, 12, 3, {.image = {3, 1}, .kernel = {3, 1}}},
        Case{31, 7, 9, {.image = {13, 11}, .kernel = {3, 3}, .padding = {1, 1}}}}) {
    const auto once = run<float>(c, Accumulate::kAdd, 1);
    for (int threads = 2; threads <= 4; ++threads) {
      const auto again = run<float>(c, Accumulate::kAdd, threads);
      test::expect_same_bits(again.y, once.y, c.name() + " y");
      test::expect_same_bits(again.dx, once.dx, c.name() + " dx");
      test::expect_same_bits(again.dw, once.dw, c.name() + " dw");
    }
  }
}

TEST(Convolution, NoImagesNoGradient) {
  const Case c{0, 4, 3, {.image = {5, 1}, .kernel = {2, 1}}};
  for (const double v : run<float>(c).dw) EXPECT_EQ(v, 0.0);
  for (const double v : run<float>(c, Accumulate::kAdd).dw) EXPECT_EQ(v, 0.5);
}

TEST(ConvolutionOutput, CountsThePlacesOfTheFilter) {
  const auto out = [](ConvolutionOptions o) { return convolution_output(o); };
  EXPECT_EQ(out({.image = {5, 1}, .kernel = {3, 1}}).h, 3);
  EXPECT_EQ(out({.image = {9, 8}, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 0}, .dilation = {2, 2}}).h, 4);
  EXPECT_EQ(out({.image = {9, 8}, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 0}, .dilation = {2, 2}}).w, 2);
  EXPECT_THROW(out({.image = {2, 1}, .kernel = {3, 1}}), CheckError) << "larger than the image";
  EXPECT_THROW(out({.image = {4, 1}, .kernel = {3, 1}, .dilation = {2, 1}}), CheckError) << "larger with its holes";
  for (const Extent2 bad : {Extent2{0, 1}, Extent2{1, 0}, Extent2{-1, 1}}) {
    EXPECT_THROW(out({.image = bad, .kernel = {1, 1}}), CheckError);
    EXPECT_THROW(out({.image = {3, 3}, .kernel = bad}), CheckError);
    EXPECT_THROW(out({.image = {3, 3}, .kernel = {1, 1}, .stride = bad}), CheckError);
    EXPECT_THROW(out({.image = {3, 3}, .kernel = {1, 1}, .dilation = bad}), CheckError);
  }
  EXPECT_THROW(out({.image = {3, 3}, .kernel = {1, 1}, .padding = {0, -1}}), CheckError);
}

TEST(ConvolutionErrors, WrongShapesAreNamed) {
  CpuContext ctx(1);
  const ConvolutionOptions o{.image = {4, 1}, .kernel = {2, 1}};
  Matrix<float> x(8, 3, std::vector<float>(24, 1.0f)), w(5, 6, std::vector<float>(30, 1.0f)), y(6, 5), bias(1, 5), wrong_bias(1, 4),
      part(7, 3), short_y(5, 5), wide_y(6, 6), wrong_w(5, 5);
  EXPECT_NO_THROW(convolution_forward<float>(ctx, y, x, w, {}, o));
  EXPECT_THROW(convolution_forward<float>(ctx, y, part, w, {}, o), CheckError) << "part of an image";
  EXPECT_THROW(convolution_forward<float>(ctx, y, x, wrong_w, {}, o), CheckError) << "depth";
  EXPECT_THROW(convolution_forward<float>(ctx, short_y, x, w, {}, o), CheckError) << "outputs";
  EXPECT_THROW(convolution_forward<float>(ctx, wide_y, x, w, {}, o), CheckError) << "filters";
  EXPECT_THROW(convolution_forward<float>(ctx, y, x, w, wrong_bias, o), CheckError) << "bias";
  EXPECT_THROW(convolution_backward_input<float>(ctx, part, y, w, o, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(convolution_backward_weight<float>(ctx, wrong_w, y, x, o, Accumulate::kOverwrite), CheckError);
}

}  // namespace
}  // namespace galrec
