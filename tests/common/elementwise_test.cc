// labels: threads
#include "kernels/common/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;
using Values = std::vector<double>;

struct Shape {
  std::int64_t rows, cols, gap;
};
// Dense of any size, aligned rows, rows that are not, long rows.
const std::vector<Shape> kShapes = {{1, 1, 0},   {31, 33, 0}, {33, 31, 1},  {127, 8, 8},  {257, 24, 0},
                                    {8, 769, 0}, {9, 768, 8}, {3, 4104, 8}, {2, 5001, 3}, {0, 8, 0}};

template <class T>
Values rounded(const Values& v) {
  return test::quantized<T>(v);
}

template <class B>
class Elementwise : public testing::Test {};
TYPED_TEST_SUITE(Elementwise, test::Backends, test::BackendNames);

TYPED_TEST(Elementwise, Fills) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto [rows, cols, gap] : kShapes) {
    Staged<T> y(ctx, rows, cols, gap);
    fill<T>(ctx, y, 0.375);
    EXPECT_EQ(y.doubles(), Values(static_cast<std::size_t>(rows * cols), 0.375));
  }
}

TYPED_TEST(Elementwise, AddsScaled) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto [rows, cols, gap] : kShapes) {
    const auto x = rounded<T>(test::random_normal<double>(rows * cols, 1)),
               before = rounded<T>(test::random_normal<double>(rows * cols, 2));
    for (const double alpha : {1.0, -2.5}) {
      for (const auto mode : {Accumulate::kOverwrite, Accumulate::kAdd}) {
        Values expected = x;
        for (std::size_t i = 0; i < x.size(); ++i) expected[i] = alpha * x[i] + (mode == Accumulate::kAdd ? before[i] : 0.0);
        const Values start = mode == Accumulate::kAdd ? before : Values(x.size(), std::nan(""));
        Staged<T> from(ctx, rows, cols, x, gap), y(ctx, rows, cols, start, 2 * gap), by_factor(ctx, rows, cols, start, gap);
        Staged<Acc<T>> factor(ctx, 1, 1, Values{alpha});
        add_scaled<T>(ctx, y, from, alpha, mode);
        add_scaled<T>(ctx, by_factor, from, factor.vector(), mode);
        const double tolerance = test::Tolerance<T>::kRelative;
        if (mode == Accumulate::kOverwrite && alpha == 1) test::expect_same_bits(y.doubles(), x, "copy");
        test::expect_close(y.doubles(), expected, tolerance, "y");
        test::expect_same_bits(by_factor.doubles(), y.doubles(), "a factor in memory");
        add_scaled<T>(ctx, from, from, 2, Accumulate::kAdd);  // in place
        Values tripled = x;
        for (auto& v : tripled) v *= 3;
        test::expect_close(from.doubles(), tripled, tolerance, "in place");
      }
    }
  }
}

// One side is a single long row for the kernel, the other is not.
TYPED_TEST(Elementwise, DenseMeetsRowsWithGaps) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto x = rounded<T>(test::random_normal<double>(9 * 24, 1));
  for (const auto& [from_gap, to_gap] : {std::pair<std::int64_t, std::int64_t>{8, 0}, {0, 8}, {3, 0}, {0, 3}}) {
    Staged<T> from(ctx, 9, 24, x, from_gap), y(ctx, 9, 24, to_gap);
    add_scaled<T>(ctx, y, from, 1, Accumulate::kOverwrite);
    test::expect_same_bits(y.doubles(), x, "copy");
  }
}

TYPED_TEST(Elementwise, AMatrixIsCopiedToItselfAndAddedToItself) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto x = rounded<T>(test::random_normal<double>(9 * 24, 1));
  Staged<T> y(ctx, 9, 24, x, 8);
  add_scaled<T>(ctx, y, y, 1, Accumulate::kOverwrite);
  test::expect_same_bits(y.doubles(), x, "copied");
  add_scaled<T>(ctx, y, y, 1, Accumulate::kAdd);
  for (auto& v : x) v *= 2;
  test::expect_same_bits(y.doubles(), x, "added");
}

TYPED_TEST(Elementwise, ReadsAScalar) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Staged<T> x(ctx, 2, 3, Values{-1.5, 2, 3, 4, 5, 6});
  EXPECT_EQ(read_scalar<T>(ctx, x.view()), -1.5);
  EXPECT_THROW((void)read_scalar<T>(ctx, View<T, 2>(nullptr, {0, 3})), CheckError);
}

TYPED_TEST(Elementwise, ShapesAreChecked) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Staged<T> a(ctx, 2, 3), b(ctx, 3, 2);
  Staged<Acc<T>> two(ctx, 1, 2);
  EXPECT_THROW(add_scaled<T>(ctx, a, b, 1, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(add_scaled<T>(ctx, a, a, two.vector(), Accumulate::kOverwrite), CheckError);
  EXPECT_THROW((convert<T, T>(ctx, a, b, Accumulate::kOverwrite)), CheckError);
}

template <class To, class From, class Context>
void expect_converts(Context& ctx) {
  for (const auto [rows, cols, gap] : kShapes) {
    const auto x = rounded<From>(test::random_normal<double>(rows * cols, 1)),
               before = rounded<To>(test::random_normal<double>(rows * cols, 2));
    Staged<From> from(ctx, rows, cols, x, gap);
    Staged<To> y(ctx, rows, cols, gap), sum(ctx, rows, cols, before, gap);
    convert<To, From>(ctx, y, from, Accumulate::kOverwrite);
    test::expect_same_bits(y.doubles(), rounded<To>(x), "converted");
    convert<To, From>(ctx, sum, from, Accumulate::kAdd);
    Values expected = x;
    for (std::size_t i = 0; i < x.size(); ++i)
      expected[i] = static_cast<double>(static_cast<float>(x[i]) + static_cast<float>(before[i]));
    test::expect_same_bits(sum.doubles(), rounded<To>(expected), "added");
  }
}

template <class B>
class Conversions : public testing::Test {};
TYPED_TEST_SUITE(Conversions, test::FloatBackends, test::BackendNames);

TYPED_TEST(Conversions, RoundOnce) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  expect_converts<float, bfloat16>(ctx);
  expect_converts<bfloat16, float>(ctx);
  expect_converts<float, float>(ctx);
}

TYPED_TEST(Conversions, KeepWhatIsNotFinite) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Staged<float> x(ctx, 1, 4, Values{std::nan(""), HUGE_VAL, -HUGE_VAL, 3.3895e38});
  Staged<bfloat16> y(ctx, 1, 4);
  convert<bfloat16, float>(ctx, y, x, Accumulate::kOverwrite);
  const auto got = y.doubles();
  EXPECT_TRUE(std::isnan(got[0]));
  EXPECT_EQ(got[1], HUGE_VAL);
  EXPECT_EQ(got[2], -HUGE_VAL);
  EXPECT_TRUE(std::isfinite(got[3]));
}

#if defined(GALREC_WITH_CUDA)
TEST(ElementwiseCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  const auto x = test::random_normal<double>(70 * 264, 1);
  const auto run = [&] {
    Staged<bfloat16> y(ctx, 70, 264, x, 8), from(ctx, 70, 264, x, 8);
    add_scaled<bfloat16>(ctx, y, from, 0.3, Accumulate::kAdd);
    return y.doubles();
  };
  const auto first = run();
  test::for_each_schedule([&](const std::string& order) { test::expect_same_bits(run(), first, order); });
}
#endif

}  // namespace
}  // namespace galrec
