// The CUDA convolution against the definition in double, on quantised inputs.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include "kernels/convolution/convolution.h"
#include "tests/kernels/convolution_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using Case = test::ConvolutionCase;
using Results = test::ConvolutionResults;
using test::Staged;

enum class Bias { kAbsent, kPresent };

template <class T>
Results run(CudaContext& ctx, const Case& c, Bias with, Accumulate accumulate) {
  const auto start = [&](std::int64_t n) {
    return std::vector<double>(static_cast<std::size_t>(n), accumulate == Accumulate::kAdd ? 0.5 : std::nan(""));
  };
  const std::int64_t x_rows = c.x_rows(), y_rows = c.y_rows(), depth = c.depth();
  const Staged<T> x(ctx, x_rows, c.channels, c.x(), c.gap), w(ctx, c.filters, depth, c.w(), c.gap),
      dy(ctx, y_rows, c.filters, c.dy(), c.gap), y(ctx, y_rows, c.filters, c.gap),
      dx(ctx, x_rows, c.channels, start(x_rows * c.channels), c.gap);
  const Staged<float> bias(ctx, 1, c.filters, c.bias()), dw(ctx, c.filters, depth, start(c.filters * depth), c.gap);
  convolution_forward<T>(ctx, y, x, w, with == Bias::kPresent ? bias.vector() : View<float, 1>(), c.options);
  convolution_backward_input<T>(ctx, dx, dy, w, c.options, accumulate);
  convolution_backward_weight<T>(ctx, dw, dy, x, c.options, accumulate);
  ctx.synchronize();
  return {y.doubles(), dx.doubles(), dw.doubles()};
}

template <class T>
void check(CudaContext& ctx, const Case& c, Bias with, Accumulate accumulate) {
  const auto q = [](const std::vector<double>& v) { return test::quantized<T>(v); };
  const auto expected = test::naive_convolution(c, q(c.x()), q(c.w()),
                                                with == Bias::kPresent ? test::quantized<float>(c.bias()) : std::vector<double>{},
                                                q(c.dy()), accumulate);
  const auto actual = run<T>(ctx, c, with, accumulate);
  // The bias is added to what was rounded already, which may be larger than the sum.
  const double roundings = with == Bias::kPresent ? 2 : 1;
  test::expect_close(actual.y, expected.y, roundings * test::Tolerance<T>::kRelative, c.name() + " y");
  test::expect_close(actual.dx, expected.dx, test::Tolerance<T>::kRelative, c.name() + " dx");
  test::expect_close(actual.dw, expected.dw, test::Tolerance<float>::kRelative, c.name() + " dw");
}

template <class B>
class ConvolutionCuda : public testing::Test {};
TYPED_TEST_SUITE(ConvolutionCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(ConvolutionCuda, EqualsTheDefinitionOnHostileShapes) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& c : test::convolution_cases()) check<T>(ctx, c, Bias::kPresent, Accumulate::kOverwrite);
}

TYPED_TEST(ConvolutionCuda, GradientsAreAddedAndBiasIsOptional) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& c : test::convolution_cases()) check<T>(ctx, c, Bias::kAbsent, Accumulate::kAdd);
}

// Patches of more than one slab: 8 MB hold 56 images of fp32 patches here, 113 of bf16.
TYPED_TEST(ConvolutionCuda, PatchesInSlabsOfImages) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Case c{115, 64, 3, {.image = {64, 1}, .kernel = {9, 1}, .padding = {4, 0}}};
  check<T>(ctx, c, Bias::kAbsent, Accumulate::kAdd);
  check<T>(ctx, c, Bias::kAbsent, Accumulate::kOverwrite);
}

TYPED_TEST(ConvolutionCuda, BitsDoNotDependOnOrders) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& c :
       {Case{129, 64, 16, {.image = {5, 1}, .kernel = {3, 1}}},
        Case{3, 5, 7, {.image = {11, 13}, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 2}, .dilation = {2, 1}}}}) {
    const auto once = run<T>(ctx, c, Bias::kPresent, Accumulate::kOverwrite);
    test::for_each_schedule([&](const std::string& what) {
      const auto again = run<T>(ctx, c, Bias::kPresent, Accumulate::kOverwrite);
      test::expect_same_bits(again.y, once.y, what + " y");
      test::expect_same_bits(again.dx, once.dx, what + " dx");
      test::expect_same_bits(again.dw, once.dw, what + " dw");
    });
  }
}

TYPED_TEST(ConvolutionCuda, NothingToDo) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const ConvolutionOptions options{.image = {5, 1}, .kernel = {2, 1}};
  for (const auto accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
    check<T>(ctx, {0, 4, 3, options}, Bias::kPresent, accumulate);
    check<T>(ctx, {2, 4, 0, options}, Bias::kPresent, accumulate);
  }
}

TYPED_TEST(ConvolutionCuda, RefusesBadArguments) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const ConvolutionOptions o{.image = {4, 1}, .kernel = {2, 1}};
  const Staged<T> x(ctx, 8, 3, std::vector<double>(24, 1.0)), w(ctx, 5, 6, std::vector<double>(30, 1.0)), y(ctx, 6, 5),
      part(ctx, 7, 3), wrong_w(ctx, 5, 5);
  const Staged<float> bias(ctx, 1, 4, std::vector<double>(4, 1.0)), wrong_dw(ctx, 5, 5);
  EXPECT_NO_THROW(convolution_forward<T>(ctx, y, x, w, {}, o));
  EXPECT_THROW(convolution_forward<T>(ctx, y, part, w, {}, o), CheckError) << "part of an image";
  EXPECT_THROW(convolution_forward<T>(ctx, y, x, wrong_w, {}, o), CheckError) << "depth";
  EXPECT_THROW(convolution_forward<T>(ctx, y, x, w, bias, o), CheckError) << "bias";
  EXPECT_THROW(convolution_backward_input<T>(ctx, part, y, w, o, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(convolution_backward_weight<T>(ctx, wrong_dw, y, x, o, Accumulate::kOverwrite), CheckError);
  constexpr std::int64_t kHuge = std::int64_t{1} << 30;
  EXPECT_THROW(convolution_forward<T>(ctx, y.view().slice_rows(0, 0), x.view().slice_rows(0, 0), w, {},
                                      {.image = {4, 1}, .kernel = {2, 1}, .stride = {kHuge, 1}}),
               CheckError)
      << "more than 32 bits";
}

// Products of operands rounded to bf16 are gemm()'s business; the convolution must take them there.
TEST(ConvolutionCudaPrecision, RoundedOperands) {
  const auto ctx = test::make_context<test::CudaFloat>();
  if (ctx == nullptr) GTEST_SKIP() << "no CUDA device";
  ctx->set_gemm_precision(GemmPrecision::kBf16);
  const Case c{37, 64, 16, {.image = {5, 1}, .kernel = {3, 1}}};
  const auto q = [](const std::vector<double>& v) { return test::quantized<bfloat16>(v); };
  const auto expected = test::naive_convolution(c, q(c.x()), q(c.w()), {}, q(c.dy()), Accumulate::kOverwrite);
  const auto actual = run<float>(*ctx, c, Bias::kAbsent, Accumulate::kOverwrite);
  test::expect_close(actual.y, expected.y, test::Tolerance<float>::kRelative, "y");
  test::expect_close(actual.dx, expected.dx, test::Tolerance<float>::kRelative, "dx");
  test::expect_close(actual.dw, expected.dw, test::Tolerance<float>::kRelative, "dw");
}

}  // namespace
}  // namespace galrec

#endif
