// Linear + cross-entropy on CUDA against the CPU's double instance, on inputs rounded to the storage type first.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

struct Inputs {
  std::int64_t n, c, v;
  double scale;
  std::vector<double> x, w, bias, before_x, before_w, before_bias;
  std::vector<std::int32_t> targets;

  template <class T>
  static Inputs make(std::int64_t n, std::int64_t c, std::int64_t v, double scale = 0.7) {
    Inputs in{n, c, v, scale, {}, {}, {}, {}, {}, {}, {}};
    in.x = test::quantized<T>(test::random_normal<double>(n * c, 1));
    in.w = test::quantized<T>(test::random_normal<double>(v * c, 2, 1.0 / std::sqrt(static_cast<double>(c))));
    in.bias = test::quantized<float>(test::random_normal<double>(v, 3));
    const auto small = 1.0 / static_cast<double>(n);
    in.before_x = test::quantized<T>(test::random_normal<double>(n * c, 5, small));
    in.before_w = test::quantized<float>(test::random_normal<double>(v * c, 6, small));
    in.before_bias = test::quantized<float>(test::random_normal<double>(v, 7, small));
    in.targets = test::random_ids(n, static_cast<std::int32_t>(v), 4);
    in.targets.front() = 0;
    in.targets.back() = static_cast<std::int32_t>(v - 1);
    return in;
  }
  std::string name() const { return fmt::format("{} x {} x {}", n, c, v); }
};

template <class T>
struct Results {
  std::vector<Acc<T>> loss, losses, lse, dw, dbias;
  std::vector<T> dx;
};

enum class Bias { kNone, kPresent };

template <class T, class Context>
Results<T> run(Context& ctx, const Inputs& in, double dloss, Accumulate accumulate, std::int64_t gap, Bias with_bias = Bias::kPresent) {
  using A = Acc<T>;
  const bool adds = accumulate == Accumulate::kAdd;
  const Staged<T> x(ctx, in.n, in.c, in.x, gap), w(ctx, in.v, in.c, in.w, gap);
  const Staged<A> bias(ctx, 1, in.v, in.bias), seed(ctx, 1, 1, std::vector<double>{dloss});
  const Staged<std::int32_t> targets(ctx, 1, in.n, in.targets);
  const Staged<A> loss(ctx, 1, 1), losses(ctx, 1, in.n), lse(ctx, 1, in.n);
  const View<const A, 1> b = with_bias == Bias::kPresent ? View<const A, 1>(bias.vector()) : View<const A, 1>();
  linear_cross_entropy_forward<T>(ctx, loss.vector(), losses.vector(), lse.vector(), x.view(), w.view(), b, targets.vector(), in.scale);
  const Staged<T> dx = adds ? Staged<T>(ctx, in.n, in.c, in.before_x, gap) : Staged<T>(ctx, in.n, in.c, gap);
  const Staged<A> dw = adds ? Staged<A>(ctx, in.v, in.c, in.before_w, gap) : Staged<A>(ctx, in.v, in.c, gap);
  const Staged<A> dbias = adds ? Staged<A>(ctx, 1, in.v, in.before_bias) : Staged<A>(ctx, 1, in.v);
  linear_cross_entropy_backward<T>(ctx, dx.view(), dw.view(), dbias.vector(), seed.vector(), x.view(), w.view(), b, targets.vector(),
                                   lse.vector(), in.scale, accumulate, accumulate);
  ctx.synchronize();
  return {loss.values(), losses.values(), lse.values(), dw.values(), dbias.values(), dx.values()};
}

template <class T>
void expect_equal(const Results<T>& ran, const Results<double>& expected, const std::string& what) {
  constexpr double kLoss = test::Tolerance<float>::kRelative, kGradient = test::Tolerance<T>::kRelative;
  test::expect_close(ran.loss, expected.loss, kLoss, what + " loss");
  test::expect_close(ran.losses, expected.losses, kLoss, what + " losses");
  test::expect_close(ran.lse, expected.lse, kLoss, what + " lse");
  // Gradients are of the order 1/N: the comparison's own floor must not hide them.
  const auto close = [&](const auto& actual, const std::vector<double>& wanted, double tolerance, const std::string& gradient) {
    const double error = test::relative_error(test::quantized<float>(actual), wanted, 1e-12);
    EXPECT_TRUE(error <= tolerance) << what << " " << gradient << ": relative error " << error;
  };
  close(ran.dx, expected.dx, 2 * kGradient, "dx");  // rounded twice: the gradient of the logits, then dx
  close(ran.dw, expected.dw, kGradient, "dw");
  close(ran.dbias, expected.dbias, kGradient, "dbias");
}

template <class T>
void expect_right(CudaContext& ctx, const Inputs& in, Accumulate accumulate, std::int64_t gap, Bias bias = Bias::kPresent) {
  CpuContext cpu(2);
  const auto what = fmt::format("{} gap {} {}", in.name(), gap, accumulate == Accumulate::kAdd ? "add" : "overwrite");
  expect_equal<T>(run<T>(ctx, in, 1.5, accumulate, gap, bias), run<double>(cpu, in, 1.5, accumulate, 0, bias), what);
}

template <class T>
void expect_same(const Results<T>& a, const Results<T>& b, const std::string& what) {
  test::expect_same_bits(a.loss, b.loss, what + " loss");
  test::expect_same_bits(a.losses, b.losses, what + " losses");
  test::expect_same_bits(a.lse, b.lse, what + " lse");
  test::expect_same_bits(a.dw, b.dw, what + " dw");
  test::expect_same_bits(a.dbias, b.dbias, what + " dbias");
  test::expect_same_bits(test::quantized<float>(a.dx), test::quantized<float>(b.dx), what + " dx");
}

template <class B>
class LinearCrossEntropyCuda : public testing::Test {};
TYPED_TEST_SUITE(LinearCrossEntropyCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(LinearCrossEntropyCuda, EqualsTheOracleOnHostileShapes) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto& sizes = test::hostile_extents();
  const std::int64_t gaps[] = {0, 8, 3};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (const std::int64_t v : {sizes[(i + 2) % sizes.size()], sizes[(i + 4) % sizes.size()]}) {
      const auto in = Inputs::make<T>(sizes[i], sizes[(i + 1) % sizes.size()] % 300 + 1, v);
      expect_right<T>(ctx, in, i % 2 ? Accumulate::kAdd : Accumulate::kOverwrite, gaps[i % 3]);
    }
  }
}

// Two chunks and a bit; three tiles of columns.
TYPED_TEST(LinearCrossEntropyCuda, ManyChunksEqualTheOracle) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto in = Inputs::make<T>(sizeof(T) == 2 ? 2100 : 1100, 24, 300);
  expect_right<T>(ctx, in, Accumulate::kOverwrite, 0);
  expect_right<T>(ctx, in, Accumulate::kAdd, 3);
}

TYPED_TEST(LinearCrossEntropyCuda, GradientsAndBiasAreOptional) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto in = Inputs::make<T>(33, 40, 130);
  expect_right<T>(ctx, in, Accumulate::kOverwrite, 0, Bias::kNone);
  const auto whole = run<T>(ctx, in, 1, Accumulate::kOverwrite, 0);
  const Staged<T> x(ctx, in.n, in.c, in.x), w(ctx, in.v, in.c, in.w), dx(ctx, in.n, in.c);
  const Staged<float> bias(ctx, 1, in.v, in.bias), one(ctx, 1, 1, std::vector<double>{1}), lse(ctx, 1, in.n, whole.lse);
  const Staged<float> dw(ctx, in.v, in.c), dbias(ctx, 1, in.v);
  const Staged<std::int32_t> targets(ctx, 1, in.n, in.targets);
  const auto backward = [&](View<T, 2> to_x, View<float, 2> to_w, View<float, 1> to_bias) {
    linear_cross_entropy_backward<T>(ctx, to_x, to_w, to_bias, one.vector(), x.view(), w.view(), bias.vector(), targets.vector(),
                                     lse.vector(), in.scale, Accumulate::kOverwrite, Accumulate::kOverwrite);
  };
  backward(dx.view(), {}, {});
  backward({}, dw.view(), {});
  backward({}, {}, dbias.vector());
  ctx.synchronize();
  test::expect_same_bits(test::quantized<float>(dx.values()), test::quantized<float>(whole.dx), "dx");
  test::expect_same_bits(dw.values(), whole.dw, "dw");
  test::expect_same_bits(dbias.values(), whole.dbias, "dbias");
}

// Rows [40, 73) of a larger head, as `loss.columns = items` uses it: the gradients of the other rows stay alone.
TYPED_TEST(LinearCrossEntropyCuda, WorksOnASliceOfAHead) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto in = Inputs::make<T>(31, 32, 33);
  auto head = test::random_normal<double>(100 * in.c, 9);
  std::copy(in.w.begin(), in.w.end(), head.begin() + 40 * in.c);
  const Staged<T> x(ctx, in.n, in.c, in.x), w(ctx, 100, in.c, head);
  const Staged<float> bias(ctx, 1, in.v, in.bias), one(ctx, 1, 1, std::vector<double>{1}), dw(ctx, 100, in.c, std::vector<double>(100 * in.c, 7.0));
  const Staged<float> loss(ctx, 1, 1), losses(ctx, 1, in.n), lse(ctx, 1, in.n);
  const Staged<std::int32_t> targets(ctx, 1, in.n, in.targets);
  const auto rows = w.view().slice_rows(40, in.v);
  linear_cross_entropy_forward<T>(ctx, loss.vector(), losses.vector(), lse.vector(), x.view(), rows, bias.vector(), targets.vector(), in.scale);
  linear_cross_entropy_backward<T>(ctx, {}, dw.view().slice_rows(40, in.v), {}, one.vector(), x.view(), rows, bias.vector(), targets.vector(),
                                   lse.vector(), in.scale, Accumulate::kOverwrite, Accumulate::kOverwrite);
  ctx.synchronize();
  const auto expected = run<T>(ctx, in, 1, Accumulate::kOverwrite, 0);
  const auto all = dw.values();
  test::expect_same_bits(std::vector<float>(all.begin() + 40 * in.c, all.begin() + 73 * in.c), expected.dw, "dw");
  for (std::int64_t i = 0; i < 100 * in.c; ++i) {
    const bool inside = i >= 40 * in.c && i < 73 * in.c;
    ASSERT_TRUE(inside || all[static_cast<std::size_t>(i)] == 7.0f) << i;
  }
}

// Logits around +-2000 overflow every exponential that is not shifted by the exact maximum.
TYPED_TEST(LinearCrossEntropyCuda, SurvivesHugeLogits) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(31, 33, 257);
  for (double& value : in.x) value *= 1024;
  CpuContext cpu(2);
  const auto expected = run<double>(cpu, in, 1, Accumulate::kOverwrite, 0);
  ASSERT_GT(*std::max_element(expected.lse.begin(), expected.lse.end()), 1000.0);
  expect_equal<T>(run<T>(ctx, in, 1, Accumulate::kOverwrite, 0), expected, "huge logits");
}

TYPED_TEST(LinearCrossEntropyCuda, NotANumberReachesTheLoss) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t at : {100, 33 * 200 + 5}) {
    auto in = Inputs::make<T>(31, 33, 257);
    in.w[static_cast<std::size_t>(at)] = std::numeric_limits<double>::quiet_NaN();
    EXPECT_TRUE(std::isnan(run<T>(ctx, in, 1, Accumulate::kOverwrite, 0).loss[0])) << at;
  }
}

TYPED_TEST(LinearCrossEntropyCuda, ReportsTargetsOutOfRange) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int32_t target : {-1, 130, 1 << 30}) {
    auto in = Inputs::make<T>(33, 8, 130);
    in.targets[7] = target;
    EXPECT_THROW(run<T>(ctx, in, 1, Accumulate::kOverwrite, 0), CheckError) << target;
  }
  EXPECT_NO_THROW(run<T>(ctx, Inputs::make<T>(33, 8, 130), 1, Accumulate::kOverwrite, 0));
}

TYPED_TEST(LinearCrossEntropyCuda, BitsDoNotDependOnTheOrderOfLanesAndBlocks) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto in = Inputs::make<T>(150, 72, 400);
  const auto first = run<T>(ctx, in, 1, Accumulate::kAdd, 0);
  test::for_each_schedule([&](const std::string& what) { expect_same<T>(run<T>(ctx, in, 1, Accumulate::kAdd, 0), first, what); });
}

TYPED_TEST(LinearCrossEntropyCuda, RefusesBadArguments) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const View<T, 2> x(nullptr, {3, 4}), w(nullptr, {5, 4});
  const View<float, 1> one(nullptr, {1}), three(nullptr, {3});
  float some = 0;
  const View<float, 1> four(&some, {4});
  const View<std::int32_t, 1> targets(nullptr, {3}), two(nullptr, {2});
  const auto forward = [&](View<float, 1> losses, View<const T, 2> a, View<const float, 1> b, View<const std::int32_t, 1> t) {
    linear_cross_entropy_forward<T>(ctx, one, losses, three, a, w, b, t, 1);
  };
  EXPECT_THROW(forward(three, x, {}, two), CheckError);
  EXPECT_THROW(forward(four, x, {}, targets), CheckError);
  EXPECT_THROW(forward(three, x.slice_cols(0, 3), {}, targets), CheckError);
  EXPECT_THROW(forward(three, x, four, targets), CheckError);
  T element{};
  const View<T, 2> wrong(&element, {4, 3});
  const auto backward = [&](View<T, 2> to_x, View<float, 2> to_w, View<float, 1> to_bias, View<const float, 1> dloss) {
    linear_cross_entropy_backward<T>(ctx, to_x, to_w, to_bias, dloss, x, w, {}, targets, three, 1, Accumulate::kOverwrite, Accumulate::kOverwrite);
  };
  EXPECT_THROW(backward(wrong, {}, {}, one), CheckError);
  EXPECT_THROW(backward({}, View<float, 2>(&some, {4, 5}), {}, one), CheckError);
  EXPECT_THROW(backward({}, {}, four, one), CheckError);
  EXPECT_THROW(backward({}, {}, {}, three), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
