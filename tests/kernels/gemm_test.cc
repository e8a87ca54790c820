#include "kernels/gemm/gemm.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

struct Shape {
  std::int64_t m, n, k;
};

std::string name(const Shape& s, const GemmOptions& o) {
  return fmt::format("{}{} {} x {} x {} {} alpha {}", o.a == Transpose::kYes ? 'T' : 'N', o.b == Transpose::kYes ? 'T' : 'N', s.m, s.n, s.k,
                     o.accumulate == Accumulate::kAdd ? "add" : "overwrite", o.alpha);
}

// A matrix inside a wider one: `gap` foreign columns follow each row and must survive.
template <class T>
struct Strided {
  std::int64_t rows, cols, gap;
  std::vector<T> all;
  Strided(std::int64_t r, std::int64_t c, std::int64_t g, std::uint64_t seed) : rows(r), cols(c), gap(g), all(test::random_normal<T>(r * (c + g), seed)) {}
  View<T, 2> view() { return View<T, 2>(all.data(), {rows, cols}, {cols + gap, 1}); }
  std::vector<T> values() const {
    std::vector<T> out;
    for (std::int64_t i = 0; i < rows; ++i) out.insert(out.end(), all.begin() + i * (cols + gap), all.begin() + i * (cols + gap) + cols);
    return out;
  }
};

// The definition, in double, element by element.
template <class T>
std::vector<double> naive(View<T, 2> a, View<T, 2> b, const std::vector<T>& c, const Shape& s, const GemmOptions& o) {
  std::vector<double> out(static_cast<std::size_t>(s.m * s.n));
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < s.n; ++j) {
      const T* left = o.a == Transpose::kYes ? a.data + i : a.row(i);
      const T* right = o.b == Transpose::kYes ? b.row(j) : b.data + j;
      const std::int64_t left_step = o.a == Transpose::kYes ? a.stride[0] : 1, right_step = o.b == Transpose::kYes ? 1 : b.stride[0];
      double sum = 0;
      for (std::int64_t k = 0; k < s.k; ++k) sum += static_cast<double>(left[k * left_step]) * static_cast<double>(right[k * right_step]);
      out[i * s.n + j] = o.alpha * sum + (o.accumulate == Accumulate::kAdd ? static_cast<double>(c[i * s.n + j]) : 0.0);
    }
  }
  return out;
}

template <class T>
Strided<T> operand_a(const Shape& s, Transpose t, std::int64_t gap) {
  return t == Transpose::kYes ? Strided<T>(s.k, s.m, gap, 1) : Strided<T>(s.m, s.k, gap, 1);
}
template <class T>
Strided<T> operand_b(const Shape& s, Transpose t, std::int64_t gap) {
  return t == Transpose::kYes ? Strided<T>(s.n, s.k, gap, 2) : Strided<T>(s.k, s.n, gap, 2);
}

const std::vector<GemmOptions>& all_options() {
  static const std::vector<GemmOptions> options = [] {
    std::vector<GemmOptions> out;
    for (auto a : {Transpose::kNo, Transpose::kYes}) {
      for (auto b : {Transpose::kNo, Transpose::kYes}) {
        out.push_back({a, b, Accumulate::kOverwrite, 1.0});
        out.push_back({a, b, Accumulate::kAdd, -0.375});
      }
    }
    return out;
  }();
  return options;
}

template <class T>
class GemmTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(GemmTest, Types);

TYPED_TEST(GemmTest, EqualsTheDefinitionOnHostileShapesAndStrides) {
  using T = TypeParam;
  const std::vector<Shape> shapes = {{1, 1, 1},    {1, 257, 33},  {31, 33, 127}, {33, 31, 1},   {127, 1, 257},
                                     {257, 127, 31}, {64, 64, 64}, {3, 769, 64},  {769, 33, 127}, {300, 257, 130}, {33, 31, 4500}, {130, 65, 2500}};
  CpuContext ctx(2);
  for (const auto& s : shapes) {
    for (const auto& o : all_options()) {
      const bool adds = o.accumulate == Accumulate::kAdd;
      auto a = operand_a<T>(s, o.a, adds ? 5 : 0);
      auto b = operand_b<T>(s, o.b, adds ? 3 : 0);
      const auto before = adds ? test::random_normal<T>(s.m * s.n, 3) : std::vector<T>(s.m * s.n, std::numeric_limits<T>::quiet_NaN());
      const auto expected = naive<T>(a.view(), b.view(), before, s, o);
      test::Guarded<T> c(before), serial(before);
      gemm<T>(ctx, c.matrix(s.m, s.n), a.view(), b.view(), o);
      test::expect_close(c.values(), expected, test::Tolerance<T>::kRelative, name(s, o));
      gemm_serial<T>(serial.matrix(s.m, s.n), a.view(), b.view(), o);
      test::expect_close(serial.values(), expected, test::Tolerance<T>::kRelative, "serial " + name(s, o));
    }
  }
}

TYPED_TEST(GemmTest, LeavesTheGapsOfAStridedOutputAlone) {
  using T = TypeParam;
  CpuContext ctx(2);
  const Shape s{130, 97, 200};
  auto a = operand_a<T>(s, Transpose::kNo, 0);
  auto b = operand_b<T>(s, Transpose::kNo, 0);
  Strided<T> c(s.m, s.n, 7, 4);
  const auto all_before = c.all;
  const auto expected = naive<T>(a.view(), b.view(), c.values(), s, {});
  gemm<T>(ctx, c.view(), a.view(), b.view());
  test::expect_close(c.values(), expected, test::Tolerance<T>::kRelative, "strided c");
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = s.n; j < s.n + 7; ++j) ASSERT_EQ(c.all[i * (s.n + 7) + j], all_before[i * (s.n + 7) + j]) << i << ", " << j;
  }
}

TYPED_TEST(GemmTest, EmptyExtents) {
  using T = TypeParam;
  CpuContext ctx(2);
  View<T, 2> nothing;
  for (auto accumulate : {Accumulate::kOverwrite, Accumulate::kAdd}) {
    const GemmOptions o{.accumulate = accumulate};
    test::Guarded<T> c(std::vector<T>(12, T(7)));
    gemm<T>(ctx, c.matrix(3, 4), View<T, 2>(nullptr, {3, 0}), View<T, 2>(nullptr, {0, 4}), o);
    const T expected = accumulate == Accumulate::kAdd ? T(7) : T(0);
    for (T x : c.values()) EXPECT_EQ(x, expected);
    test::Guarded<T> serial(std::vector<T>(12, T(7)));
    gemm_serial<T>(serial.matrix(3, 4), View<T, 2>(nullptr, {3, 0}), View<T, 2>(nullptr, {0, 4}), o);
    for (T x : serial.values()) EXPECT_EQ(x, expected);
    gemm<T>(ctx, View<T, 2>(nullptr, {0, 4}), View<T, 2>(nullptr, {0, 5}), Strided<T>(5, 4, 0, 1).view(), o);
    gemm<T>(ctx, nothing, nothing, nothing, o);
  }
}

TYPED_TEST(GemmTest, RejectsShapesThatDoNotMatch) {
  using T = TypeParam;
  CpuContext ctx(1);
  std::vector<T> x(64);
  const auto view = [&](std::int64_t r, std::int64_t c) { return View<T, 2>(x.data(), {r, c}); };
  EXPECT_THROW(gemm<T>(ctx, view(2, 3), view(2, 4), view(5, 3)), CheckError);
  EXPECT_THROW(gemm<T>(ctx, view(3, 3), view(2, 4), view(4, 3)), CheckError);
  EXPECT_THROW(gemm<T>(ctx, view(2, 4), view(2, 4), view(4, 3)), CheckError);
  EXPECT_THROW(gemm<T>(ctx, view(2, 3), view(2, 4), view(4, 3), {.a = Transpose::kYes}), CheckError);
  EXPECT_THROW(gemm_serial<T>(view(2, 3), view(2, 4), view(4, 3), {.b = Transpose::kYes}), CheckError);
  EXPECT_THROW(gemm<T>(ctx, View<T, 2>(x.data(), {2, 3}, {2, 1}), view(2, 4), view(4, 3)), CheckError);
  std::vector<T> bias(4);
  EXPECT_THROW(add_bias<T>(ctx, view(2, 3), view_of(bias)), CheckError);
  EXPECT_THROW(column_sum<T>(ctx, view_of(bias), view(2, 3), Accumulate::kAdd), CheckError);
}

// Same bits for 1 to 4 threads, whatever OpenMP's own default is at the call.
TYPED_TEST(GemmTest, BitsDoNotDependOnThreads) {
  using T = TypeParam;
  const std::vector<Shape> shapes = std::is_same_v<T, float>
                                        ? std::vector<Shape>{{700, 256, 16}, {128, 130, 3000}, {40, 30, 20}, {257, 127, 257}}
                                        : std::vector<Shape>{{300, 256, 64}, {128, 128, 500}, {40, 30, 20}};
  const int before = omp_get_max_threads();
  for (const auto& s : shapes) {
    for (auto precision : {GemmPrecision::kFull, GemmPrecision::kBf16}) {
      for (int which : {0, 3, 4, 7}) {  // NN, NT, TN, TT; two of them accumulate
        const auto& o = all_options()[which];
        auto a = operand_a<T>(s, o.a, 3);
        auto b = operand_b<T>(s, o.b, 0);
        const auto start = test::random_normal<T>(s.m * s.n, 5);
        std::vector<T> first, first_serial;
        for (int threads : {1, 2, 3, 4}) {
          for (int ambient : {1, 4}) {
            omp_set_num_threads(ambient);
            CpuContext ctx(threads, precision);
            auto c = start;
            gemm<T>(ctx, view_of(c, s.m, s.n), a.view(), b.view(), o);
            EXPECT_EQ(omp_get_max_threads(), ambient) << "the caller's thread count was not restored";
            auto serial = start;
            if (threads == 1) gemm_serial<T>(view_of(serial, s.m, s.n), a.view(), b.view(), o);
            if (first.empty()) {
              first = c;
              first_serial = serial;
            }
            test::expect_same_bits(c, first, fmt::format("{} threads {} ambient {}", name(s, o), threads, ambient));
            if (threads == 1) test::expect_same_bits(serial, first_serial, fmt::format("serial {} ambient {}", name(s, o), ambient));
          }
        }
      }
    }
  }
  omp_set_num_threads(before);
}

// The bf16 product of the rounded operands, in fp32: equal to the exact product of the rounded operands, at least as
// near to the full product as rounding explains, and different from the full product (so the path did run).
TEST(GemmBf16Test, MultipliesRoundedOperands) {
  const bool native = __builtin_cpu_supports("avx512bf16");
  CpuContext ctx(2, GemmPrecision::kBf16);
  for (const Shape s : {Shape{1, 1, 1}, Shape{31, 33, 127}, Shape{300, 257, 130}, Shape{5, 3, 2}, Shape{256, 256, 1000}}) {
    for (const auto& o : all_options()) {
      auto a = operand_a<float>(s, o.a, 5);
      auto b = operand_b<float>(s, o.b, 3);
      auto ra = a, rb = b;
      for (auto& x : ra.all) x = static_cast<float>(bfloat16(x));
      for (auto& x : rb.all) x = static_cast<float>(bfloat16(x));
      const auto before = test::random_normal<float>(s.m * s.n, 3);
      test::Guarded<float> c(o.accumulate == Accumulate::kAdd ? before : std::vector<float>(before.size(), std::nanf("")));
      gemm<float>(ctx, c.matrix(s.m, s.n), a.view(), b.view(), o);
      const auto full = naive<float>(a.view(), b.view(), before, s, o);
      const auto expected = native ? naive<float>(ra.view(), rb.view(), before, s, o) : full;
      test::expect_close(c.values(), expected, test::Tolerance<float>::kRelative, "bf16 " + name(s, o));
      if (native && s.k > 100) {
        const double error = test::relative_error(c.values(), full);
        EXPECT_TRUE(error > 1e-4 && error <= 1e-2) << name(s, o) << ": " << error;
      }
    }
  }
}

TEST(GemmBf16Test, LeavesDoubleAlone) {
  const Shape s{33, 31, 127};
  auto a = operand_a<double>(s, Transpose::kNo, 0);
  auto b = operand_b<double>(s, Transpose::kNo, 0);
  std::vector<double> full(s.m * s.n), low(s.m * s.n);
  CpuContext ctx(1);
  gemm<double>(ctx, view_of(full, s.m, s.n), a.view(), b.view());
  ctx.set_gemm_precision(GemmPrecision::kBf16);
  gemm<double>(ctx, view_of(low, s.m, s.n), a.view(), b.view());
  test::expect_same_bits(low, full, "double");
}

TYPED_TEST(GemmTest, BiasAndColumnSum) {
  using T = TypeParam;
  for (std::int64_t rows : {0, 1, 31, 257, 769}) {
    for (std::int64_t cols : {1, 33, 127}) {
      Strided<T> x(rows, cols, 3, 11);
      const auto bias = test::random_normal<T>(cols, 12);
      const auto start = test::random_normal<T>(cols, 13);
      std::vector<double> sums(cols), added;
      for (std::int64_t j = 0; j < cols; ++j) sums[j] = start[j];
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) {
          sums[j] += x.view()(i, j);
          added.push_back(static_cast<double>(x.view()(i, j)) + bias[j]);
        }
      }
      std::vector<T> first;
      for (int threads : {1, 2, 3, 4}) {
        CpuContext ctx(threads);
        test::Guarded<T> out(start);
        column_sum<T>(ctx, out.vector(), x.view(), Accumulate::kAdd);
        test::expect_close(out.values(), sums, test::Tolerance<T>::kRelative, "column_sum");
        if (first.empty()) first = out.values();
        test::expect_same_bits(out.values(), first, "column_sum threads");
      }
      CpuContext ctx(2);
      test::Guarded<T> zero(cols), poisoned(cols);
      std::fill_n(zero.data(), cols, T(0));
      column_sum<T>(ctx, zero.vector(), x.view(), Accumulate::kAdd);
      column_sum<T>(ctx, poisoned.vector(), x.view(), Accumulate::kOverwrite);
      test::expect_same_bits(poisoned.values(), zero.values(), "overwrite");
      add_bias<T>(ctx, x.view(), View<const T, 1>(bias.data(), {cols}));
      test::expect_close(x.values(), added, test::Tolerance<T>::kRelative, "add_bias");
    }
  }
}

}  // namespace
}  // namespace galrec
