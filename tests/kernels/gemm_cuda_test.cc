// The CUDA products against the definition in double, on inputs rounded to the storage type first.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

struct Shape {
  std::int64_t m, n, k;
};

std::string name(const Shape& s, const GemmOptions& o, std::int64_t gap) {
  return fmt::format("{}{} {} x {} x {} {} alpha {} gap {}", o.a == Transpose::kYes ? 'T' : 'N', o.b == Transpose::kYes ? 'T' : 'N', s.m, s.n, s.k,
                     o.accumulate == Accumulate::kAdd ? "add" : "overwrite", o.alpha, gap);
}

GemmOptions options(int layout, Accumulate accumulate = Accumulate::kOverwrite, double alpha = 1) {
  return {layout & 1 ? Transpose::kYes : Transpose::kNo, layout & 2 ? Transpose::kYes : Transpose::kNo, accumulate, alpha};
}

// Operands as they lie in memory (values of `In`), what c holds before, and the definition.
struct Problem {
  Shape s;
  GemmOptions o;
  std::vector<double> a, b, before;

  template <class In, class Out>
  static Problem make(Shape s, GemmOptions o) {
    return {s, o, test::quantized<In>(test::random_normal<double>(s.m * s.k, 1)), test::quantized<In>(test::random_normal<double>(s.k * s.n, 2)),
            test::quantized<Out>(test::random_normal<double>(s.m * s.n, 3))};
  }
  std::int64_t a_rows() const { return o.a == Transpose::kYes ? s.k : s.m; }
  std::int64_t b_rows() const { return o.b == Transpose::kYes ? s.n : s.k; }

  std::vector<double> expected() const {
    // Both operands with the depth contiguous.
    std::vector<double> left(a), right(b), out;
    if (o.a == Transpose::kYes)
      for (std::int64_t i = 0; i < s.m; ++i)
        for (std::int64_t k = 0; k < s.k; ++k) left[i * s.k + k] = a[k * s.m + i];
    if (o.b == Transpose::kNo)
      for (std::int64_t j = 0; j < s.n; ++j)
        for (std::int64_t k = 0; k < s.k; ++k) right[j * s.k + k] = b[k * s.n + j];
    for (std::int64_t i = 0; i < s.m; ++i) {
      for (std::int64_t j = 0; j < s.n; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < s.k; ++k) sum += left[i * s.k + k] * right[j * s.k + k];
        out.push_back(o.alpha * sum + (o.accumulate == Accumulate::kAdd ? before[i * s.n + j] : 0.0));
      }
    }
    return out;
  }
};

template <class In, class Out>
std::vector<Out> run(CudaContext& ctx, const Problem& p, std::int64_t gap) {
  const Staged<In> a(ctx, p.a_rows(), static_cast<std::int64_t>(p.a.size()) / std::max<std::int64_t>(p.a_rows(), 1), p.a, gap);
  const Staged<In> b(ctx, p.b_rows(), static_cast<std::int64_t>(p.b.size()) / std::max<std::int64_t>(p.b_rows(), 1), p.b, gap);
  const Staged<Out> c = p.o.accumulate == Accumulate::kAdd ? Staged<Out>(ctx, p.s.m, p.s.n, p.before, gap) : Staged<Out>(ctx, p.s.m, p.s.n, gap);
  gemm<In>(ctx, c.view(), a.view(), b.view(), p.o);
  ctx.synchronize();
  return c.values();
}

template <class In, class Out>
void expect_right(CudaContext& ctx, Shape s, GemmOptions o, std::int64_t gap) {
  const auto p = Problem::make<In, Out>(s, o);
  test::expect_close(test::quantized<float>(run<In, Out>(ctx, p, gap)), p.expected(), test::Tolerance<Out>::kRelative, name(s, o, gap));
}

// Tiles of every size and their edges, one and several slices of the depth.
const Shape kShapes[] = {{1, 1, 1},    {1, 257, 33},  {31, 33, 127},  {33, 31, 1},   {127, 1, 257},  {257, 127, 31},
                         {64, 64, 64}, {3, 769, 64},  {769, 33, 127}, {200, 136, 72}, {33, 31, 4500}, {130, 72, 2504}};

template <class B>
class GemmCuda : public testing::Test {};
TYPED_TEST_SUITE(GemmCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(GemmCuda, EqualsTheDefinitionOnHostileShapesAndStrides) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& s : kShapes) {
    for (int layout = 0; layout < 4; ++layout) {
      expect_right<T, T>(ctx, s, options(layout), 0);
      expect_right<T, T>(ctx, s, options(layout, Accumulate::kAdd, -0.375), layout % 2 ? 8 : 3);
      if constexpr (!std::is_same_v<T, Acc<T>>) {
        expect_right<T, float>(ctx, s, options(layout, Accumulate::kAdd, 2), 0);
        expect_right<T, float>(ctx, s, options(layout), layout % 2 ? 3 : 8);
      }
    }
  }
}

// Enough tiles of 128 x 128, a depth of more steps than stages with a part of a step at its end.
TYPED_TEST(GemmCuda, ManyTiles) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (int layout = 0; layout < 4; ++layout) {
    const auto o = options(layout, layout % 2 ? Accumulate::kAdd : Accumulate::kOverwrite, layout % 2 ? 0.5 : 1);
    expect_right<T, T>(ctx, {1300, 1290, 168}, o, layout < 2 ? 0 : 8);
    if constexpr (!std::is_same_v<T, Acc<T>>) expect_right<T, float>(ctx, {1290, 1300, 40}, o, layout < 2 ? 8 : 0);
  }
}

// fp32 matrices, products of what their elements are in bf16: right for the rounded operands, so not in full precision.
TEST(GemmCudaPrecision, Bf16RoundsTheOperands) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  ctx.set_gemm_precision(GemmPrecision::kBf16);
  for (const auto& s : kShapes) {
    for (int layout = 0; layout < 4; ++layout) {
      for (std::int64_t gap : {0, 8, 3}) {
        auto p = Problem::make<float, float>(s, options(layout, gap ? Accumulate::kAdd : Accumulate::kOverwrite, gap ? -0.375 : 1));
        const auto now = run<float, float>(ctx, p, gap);
        const auto full = p.expected();
        p.a = test::quantized<bfloat16>(p.a);
        p.b = test::quantized<bfloat16>(p.b);
        test::expect_close(now, p.expected(), test::Tolerance<float>::kRelative, name(s, p.o, gap));
        EXPECT_TRUE(s.k < 100 || test::relative_error(now, full) > 1e-4) << name(s, p.o, gap);
      }
    }
  }
}

// 11 significant bits of the operands, rounded to nearest, ties away from zero.
double tf32(double x) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  return static_cast<double>(std::bit_cast<float>((bits + 0x1000u) & 0xffffe000u));
}

TEST(GemmCudaPrecision, Tf32RoundsTheOperands) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  ctx.set_gemm_precision(GemmPrecision::kTf32);
  std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
  shapes.push_back({1290, 1300, 40});
  for (const auto& s : shapes) {
    for (int layout = 0; layout < 4; ++layout) {
      const std::int64_t gap = layout % 2 ? 3 : 8;
      auto p = Problem::make<float, float>(s, options(layout, Accumulate::kAdd, -0.375));
      const auto now = run<float, float>(ctx, p, gap);
      const auto full = s.k < 100 ? std::vector<double>() : p.expected();
      for (auto* operand : {&p.a, &p.b}) std::transform(operand->begin(), operand->end(), operand->begin(), tf32);
      test::expect_close(now, p.expected(), test::Tolerance<float>::kRelative, name(s, p.o, gap));
      EXPECT_TRUE(s.k < 100 || test::relative_error(now, full) > 2e-5) << name(s, p.o, gap);
    }
  }
}

TYPED_TEST(GemmCuda, BitsDoNotDependOnTheOrderOfLanesAndBlocks) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const Shape s : {Shape{257, 200, 72}, Shape{70, 33, 2300}}) {
    for (int layout = 0; layout < 4; ++layout) {
      const auto p = Problem::make<T, T>(s, options(layout, layout % 2 ? Accumulate::kAdd : Accumulate::kOverwrite));
      std::vector<T> first;
      test::for_each_schedule([&](const std::string& what) {
        const auto now = run<T, T>(ctx, p, layout < 2 ? 0 : 3);
        if (first.empty()) first = now;
        test::expect_same_bits(test::quantized<float>(now), test::quantized<float>(first), what + ", " + name(s, p.o, 0));
      });
    }
  }
}

TYPED_TEST(GemmCuda, EmptyExtents) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::vector<double> seven(12, 7.0);
  for (auto accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
    const GemmOptions o{.accumulate = accumulate};
    const Staged<T> c(ctx, 3, 4, seven);
    gemm<T>(ctx, c.view(), View<T, 2>(nullptr, {3, 0}), View<T, 2>(nullptr, {0, 4}), o);
    gemm<T>(ctx, View<T, 2>(nullptr, {0, 4}), View<T, 2>(nullptr, {0, 3}), c.view(), o);
    ctx.synchronize();
    EXPECT_EQ(c.doubles(), std::vector<double>(12, accumulate == Accumulate::kAdd ? 7.0 : 0.0));
  }
}

TYPED_TEST(GemmCuda, RejectsShapesThatDoNotMatch) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto view = [](std::int64_t r, std::int64_t c) { return View<T, 2>(nullptr, {r, c}); };
  EXPECT_THROW(gemm<T>(ctx, view(2, 3), view(2, 4), view(5, 3)), CheckError);
  EXPECT_THROW(gemm<T>(ctx, view(2, 3), view(2, 4), view(4, 3), {.a = Transpose::kYes}), CheckError);
  EXPECT_THROW(gemm<T>(ctx, View<T, 2>(nullptr, {2, 3}, {2, 1}), view(2, 4), view(4, 3)), CheckError);
  EXPECT_THROW(add_bias<T>(ctx, view(2, 3), View<float, 1>(nullptr, {4})), CheckError);
  EXPECT_THROW(column_sum<T>(ctx, View<float, 1>(nullptr, {4}), view(2, 3), Accumulate::kAdd), CheckError);
}

TYPED_TEST(GemmCuda, BiasAndColumnSum) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (std::int64_t rows : {0, 1, 31, 257, 769}) {
    for (std::int64_t cols : {1, 33, 127, 256}) {
      for (std::int64_t gap : {0, 3, 8}) {
        const auto values = test::quantized<T>(test::random_normal<double>(rows * cols, 11));
        const auto bias = test::random_normal<float>(cols, 12), start = test::random_normal<float>(cols, 13);
        std::vector<double> sums(cols, 0.0), added;
        for (std::int64_t i = 0; i < rows * cols; ++i) {
          sums[i % cols] += values[i];
          added.push_back(values[i] + static_cast<double>(bias[i % cols]));
        }
        const Staged<T> x(ctx, rows, cols, values, gap);
        const Staged<float> b(ctx, 1, cols, bias), fresh(ctx, 1, cols), more(ctx, 1, cols, start);
        column_sum<T>(ctx, fresh, x, Accumulate::kOverwrite);
        column_sum<T>(ctx, more, x, Accumulate::kAdd);
        add_bias<T>(ctx, x, b);
        ctx.synchronize();
        const auto what = fmt::format("{} x {} gap {}", rows, cols, gap);
        test::expect_close(fresh.values(), sums, test::Tolerance<float>::kRelative, "column_sum " + what);
        for (std::int64_t j = 0; j < cols; ++j) sums[j] += static_cast<double>(start[j]);
        test::expect_close(more.values(), sums, test::Tolerance<float>::kRelative, "column_sum onto " + what);
        test::expect_close(x.doubles(), added, test::Tolerance<T>::kRelative, "add_bias " + what);
      }
    }
  }
}

}  // namespace
}  // namespace galrec

#endif
