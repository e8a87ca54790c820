// LayerNorm on CUDA against the CPU in double.
#if defined(GALREC_WITH_CUDA)

#include "kernels/layer_norm/layer_norm.h"
#include "tests/support/norm_cases.h"

namespace galrec {
namespace {

struct Layer {
  using Options = LayerNormOptions;
  static constexpr bool kHasMean = true;

  template <class T, class Context>
  static void forward(Context& ctx, View<T, 2> y, View<Acc<T>, 2> sum, View<Acc<T>, 1> mean, View<Acc<T>, 1> rstd,
                      ConstView<T, 2> x, ConstView<Acc<T>, 2> residual, ConstView<Acc<T>, 1> weight, ConstView<Acc<T>, 1> bias,
                      const Options& options) {
    layer_norm_forward<T>(ctx, y, sum, mean, rstd, x, residual, weight, bias, options);
  }
  template <class T, class Context>
  static void backward(Context& ctx, View<T, 2> dx, View<Acc<T>, 2> dresidual, View<Acc<T>, 1> dweight, View<Acc<T>, 1> dbias,
                       ConstView<T, 2> dy, ConstView<Acc<T>, 2> dsum, ConstView<Acc<T>, 2> sum, ConstView<Acc<T>, 1> weight,
                       ConstView<Acc<T>, 1> mean, ConstView<Acc<T>, 1> rstd, const Options& options, Accumulate dx_accumulate,
                       Accumulate dresidual_accumulate, Accumulate dweight_accumulate) {
    layer_norm_backward<T>(ctx, dx, dresidual, dweight, dbias, dy, dsum, sum, weight, mean, rstd, options, dx_accumulate,
                           dresidual_accumulate, dweight_accumulate);
  }
};

template <class B>
class LayerNormCuda : public testing::Test {};
TYPED_TEST_SUITE(LayerNormCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(LayerNormCuda, ForwardIsThatOfDouble) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_forward<Layer, typename TypeParam::Value>(ctx);
}

TYPED_TEST(LayerNormCuda, BackwardIsThatOfDouble) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_backward<Layer, typename TypeParam::Value>(ctx);
}

TYPED_TEST(LayerNormCuda, AddsOverwritesOrWorksInPlace) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_backward_modes<Layer, typename TypeParam::Value>(ctx);
}

TYPED_TEST(LayerNormCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_bits<Layer, typename TypeParam::Value>(ctx);
}

TYPED_TEST(LayerNormCuda, NoRowsClearTheWeightGradients) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_of_nothing<Layer, typename TypeParam::Value>(ctx);
}

TYPED_TEST(LayerNormCuda, UnwantedGradientsMayBeEmpty) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  test::expect_norm_gradients_alone<Layer, typename TypeParam::Value>(ctx);
}

// A mean far from zero must not cost the variance its digits: it is summed over deviations.
TYPED_TEST(LayerNormCuda, ALargeMeanCostsNoDigits) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const test::NormShape shape : {test::NormShape{9, 256}, test::NormShape{9, 1100}, test::NormShape{9, 255}}) {
    test::NormProblem<Layer, T> p(shape, test::NormForm::kStreamAlone, 0);
    for (auto& v : p.residual) v = static_cast<double>(static_cast<float>(v + 1000));
    CpuContext cpu(1);
    test::Matrix<double> s(shape.rows, shape.cols, p.residual), w(1, shape.cols, p.weight), b(1, shape.cols, p.bias),
        y(shape.rows, shape.cols), mean(1, shape.rows), rstd(1, shape.rows);
    layer_norm_forward<double>(cpu, y, {}, mean, rstd, s, {}, w, b, p.options);
    const test::NormForward<Layer, T> got(ctx, p);
    test::expect_close(got.rstd, rstd.values(), 1e-4, p.name() + " rstd");
  }
}

TEST(LayerNormCudaErrors, WrongShapesAreNamed) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  test::Staged<float> a(ctx, 4, 8), b(ctx, 4, 7), w(ctx, 1, 8), r(ctx, 1, 4), y(ctx, 4, 8);
  EXPECT_THROW(layer_norm_forward<float>(ctx, y, {}, r, r, b, {}, w, w, {}), CheckError);
  EXPECT_THROW(layer_norm_forward<float>(ctx, y, {}, w, r, a, {}, w, w, {}), CheckError);
  EXPECT_THROW(layer_norm_forward<float>(ctx, y, {}, r, r, a, {}, w, r, {}), CheckError);
  EXPECT_THROW(layer_norm_forward<float>(ctx, y, {}, r, r, a, a, w, w, {}), CheckError);
  constexpr auto kSet = Accumulate::kOverwrite;
  EXPECT_THROW(layer_norm_backward<float>(ctx, b, {}, {}, {}, a, {}, a, w, r, r, {}, kSet, kSet, kSet), CheckError);
  EXPECT_THROW(layer_norm_backward<float>(ctx, {}, {}, w, r, a, {}, a, w, r, r, {}, kSet, kSet, kSet), CheckError);
  EXPECT_THROW(layer_norm_backward<float>(ctx, {}, {}, {}, {}, b, {}, a, w, r, r, {}, kSet, kSet, kSet), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
