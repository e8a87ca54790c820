// RMSNorm on CUDA against the CPU in double.
#if defined(GALREC_WITH_CUDA)

#include "kernels/rms_norm/rms_norm.h"
#include "tests/support/norm_cases.h"

namespace galrec {
namespace {

struct Rms {
  using Options = RmsNormOptions;
  static constexpr bool kHasMean = false;

  template <class T, class Context>
  static void forward(Context& ctx, View<T, 2> y, View<Acc<T>, 2> sum, View<Acc<T>, 1>, View<Acc<T>, 1> rstd, ConstView<T, 2> x,
                      ConstView<Acc<T>, 2> residual, ConstView<Acc<T>, 1> weight, ConstView<Acc<T>, 1>, const Options& options) {
    rms_norm_forward<T>(ctx, y, sum, rstd, x, residual, weight, options);
  }
  template <class T, class Context>
  static void backward(Context& ctx, View<T, 2> dx, View<Acc<T>, 2> dresidual, View<Acc<T>, 1> dweight, View<Acc<T>, 1>,
                       ConstView<T, 2> dy, ConstView<Acc<T>, 2> dsum, ConstView<Acc<T>, 2> sum, ConstView<Acc<T>, 1> weight,
                       ConstView<Acc<T>, 1>, ConstView<Acc<T>, 1> rstd, const Options& options, Accumulate dx_accumulate,
                       Accumulate dresidual_accumulate, Accumulate dweight_accumulate) {
    rms_norm_backward<T>(ctx, dx, dresidual, dweight, dy, dsum, sum, weight, rstd, options, dx_accumulate, dresidual_accumulate,
                         dweight_accumulate);
  }
};

template <class B>
class RmsNormCuda : public testing::Test {};
TYPED_TEST_SUITE(RmsNormCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(RmsNormCuda, ForwardIsThatOfDouble) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_forward<Rms, typename TypeParam::Value>(ctx);
}

TYPED_TEST(RmsNormCuda, BackwardIsThatOfDouble) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_backward<Rms, typename TypeParam::Value>(ctx);
}

TYPED_TEST(RmsNormCuda, AddsOverwritesOrWorksInPlace) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_backward_modes<Rms, typename TypeParam::Value>(ctx);
}

TYPED_TEST(RmsNormCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_bits<Rms, typename TypeParam::Value>(ctx);
}

TYPED_TEST(RmsNormCuda, NoRowsClearTheWeightGradient) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_of_nothing<Rms, typename TypeParam::Value>(ctx);
}

TYPED_TEST(RmsNormCuda, UnwantedGradientsMayBeEmpty) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_gradients_alone<Rms, typename TypeParam::Value>(ctx);
}

TEST(RmsNormCudaAliasing, TheSumMayTakeThePlaceOfResidualOrBranch) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  for (const test::NormShape shape : {test::NormShape{33, 132, 8}, test::NormShape{33, 127}, test::NormShape{5, 1028}}) {
    const test::NormProblem<Rms, float> p(shape, test::NormForm::kBoth, 0.2);
    const test::NormForward<Rms, float> expected(ctx, p);
    for (const bool in_x : {false, true}) {
      const auto [rows, cols, gap] = shape;
      test::Staged<float> x(ctx, rows, cols, p.x, gap), residual(ctx, rows, cols, p.residual, gap), weight(ctx, 1, cols, p.weight),
          y(ctx, rows, cols), rstd(ctx, 1, rows);
      const test::Staged<float>& sum = in_x ? x : residual;
      rms_norm_forward<float>(ctx, y, sum.view(), rstd, x, residual, weight, p.options);
      test::expect_same_bits(sum.doubles(), expected.sum, "sum");
      test::expect_same_bits(y.doubles(), expected.y, "y");
    }
  }
}

TEST(RmsNormCudaSaved, ABranchAloneCanLeaveItsValuesInFp32) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  const test::NormProblem<Rms, bfloat16> p({9, 72, 8}, test::NormForm::kBranchAlone, 0);
  test::Staged<bfloat16> x(ctx, 9, 72, p.x, 8), y(ctx, 9, 72);
  test::Staged<float> sum(ctx, 9, 72), rstd(ctx, 1, 9), weight(ctx, 1, 72, p.weight);
  rms_norm_forward<bfloat16>(ctx, y, sum, rstd, x, {}, weight, p.options);
  test::expect_same_bits(sum.doubles(), p.x, "sum");
}

TEST(RmsNormCudaErrors, WrongShapesAreNamed) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  test::Staged<float> a(ctx, 4, 8), b(ctx, 4, 7), weight(ctx, 1, 8), rstd(ctx, 1, 4), y(ctx, 4, 8);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, b, {}, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, y, rstd, a, b, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, a, a, weight, {}), CheckError);  // nowhere to put the sum
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, {}, {}, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, weight, a, {}, weight, {}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, {}, rstd, a, {}, weight, {.dropout = {.rate = 0.5}}), CheckError);
  EXPECT_THROW(rms_norm_forward<float>(ctx, y, y, rstd, a, a, weight, {.dropout = {.rate = 1.0}}), CheckError);
  constexpr auto kSet = Accumulate::kOverwrite;
  EXPECT_THROW(rms_norm_backward<float>(ctx, b, {}, {}, a, {}, a, weight, rstd, {}, kSet, kSet, kSet), CheckError);
  EXPECT_THROW(rms_norm_backward<float>(ctx, {}, {}, rstd, a, {}, a, weight, rstd, {}, kSet, kSet, kSet), CheckError);
  EXPECT_THROW(rms_norm_backward<float>(ctx, {}, a, {}, y, a, y, weight, rstd, {}, kSet, Accumulate::kAdd, kSet), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
