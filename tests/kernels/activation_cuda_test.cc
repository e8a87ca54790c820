// Activations on CUDA against the CPU in double.
#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/activation/activation.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Matrix;
using test::Staged;
using Values = std::vector<double>;

constexpr ActivationKind kKinds[] = {ActivationKind::kIdentity, ActivationKind::kRelu, ActivationKind::kGeluTanh,
                                     ActivationKind::kGeluErf};

struct Shape {
  std::int64_t rows, cols, gap;
};
// Short and long rows, aligned or not; more than one tile of 256 threads along a row.
const std::vector<Shape> kShapes = {{1, 1, 0},   {33, 31, 1}, {31, 33, 0},   {257, 127, 8}, {127, 257, 7}, {5, 769, 0},
                                    {769, 8, 8}, {65, 24, 0}, {33, 256, 16}, {9, 768, 8},   {3, 4104, 8},  {3, 4100, 1}};

struct Inputs {
  Shape shape;
  ActivationKind kind;
  Dropout dropout;
  Values a, b, dy;

  template <class T>
  static Inputs of(Shape s, ActivationKind kind, double rate) {
    const std::int64_t n = s.rows * s.cols;
    return {s,
            kind,
            {.rate = rate, .key = {.seed = 5, .step = 2, .stream = 8}},
            test::quantized<T>(test::random_normal<double>(n, 1, 2.0)),
            test::quantized<T>(test::random_normal<double>(n, 2)),
            test::quantized<T>(test::random_normal<double>(n, 3))};
  }
  std::string name() const {
    return std::to_string(shape.rows) + "x" + std::to_string(shape.cols) + " kind " + std::to_string(static_cast<int>(kind));
  }
};

struct Results {
  Values y, dx, gated, da, db, dropped;

  void expect_close_to(const Results& e, double tolerance, const std::string& what) const {
    test::expect_close(y, e.y, tolerance, what + " y");
    test::expect_close(dx, e.dx, tolerance, what + " dx");
    test::expect_close(gated, e.gated, tolerance, what + " gated");
    test::expect_close(da, e.da, tolerance, what + " da");
    test::expect_close(db, e.db, tolerance, what + " db");
    test::expect_close(dropped, e.dropped, tolerance, what + " dropped");
  }
  void expect_same(const Results& e, const std::string& what) const {
    test::expect_same_bits(y, e.y, what + " y");
    test::expect_same_bits(dx, e.dx, what + " dx");
    test::expect_same_bits(gated, e.gated, what + " gated");
    test::expect_same_bits(da, e.da, what + " da");
    test::expect_same_bits(db, e.db, what + " db");
    test::expect_same_bits(dropped, e.dropped, what + " dropped");
  }
};

Results oracle(const Inputs& in, Accumulate mode) {
  CpuContext cpu(1);
  const auto [rows, cols, gap] = in.shape;
  const auto start = [elements = rows * cols] { return Values(static_cast<std::size_t>(elements), 0.5); };
  Matrix<double> a(rows, cols, in.a), b(rows, cols, in.b), dy(rows, cols, in.dy), y(rows, cols), gated(rows, cols),
      dx(rows, cols, start()), da(rows, cols, start()), db(rows, cols, start()), dropped(rows, cols, start());
  activation_forward<double>(cpu, y, a, in.kind, in.dropout);
  activation_backward<double>(cpu, dx, dy, a, in.kind, in.dropout, mode);
  gated_activation_forward<double>(cpu, gated, a, b, in.kind, in.dropout);
  gated_activation_backward<double>(cpu, da, db, dy, a, b, in.kind, in.dropout, mode);
  dropout_forward<double>(cpu, dropped, a, in.dropout, mode);
  return {y.values(), dx.values(), gated.values(), da.values(), db.values(), dropped.values()};
}

template <class T>
Results on_cuda(CudaContext& ctx, const Inputs& in, Accumulate mode) {
  const auto [rows, cols, gap] = in.shape;
  const auto start = [elements = rows * cols, mode] { return Values(static_cast<std::size_t>(elements), mode == Accumulate::kAdd ? 0.5 : std::nan("")); };
  Staged<T> a(ctx, rows, cols, in.a, gap), b(ctx, rows, cols, in.b, 2 * gap), dy(ctx, rows, cols, in.dy, gap),
      y(ctx, rows, cols, gap), gated(ctx, rows, cols, gap), dx(ctx, rows, cols, start(), gap), da(ctx, rows, cols, start(), gap),
      db(ctx, rows, cols, start()), dropped(ctx, rows, cols, start(), gap);
  activation_forward<T>(ctx, y, a, in.kind, in.dropout);
  activation_backward<T>(ctx, dx, dy, a, in.kind, in.dropout, mode);
  gated_activation_forward<T>(ctx, gated, a, b, in.kind, in.dropout);
  gated_activation_backward<T>(ctx, da, db, dy, a, b, in.kind, in.dropout, mode);
  dropout_forward<T>(ctx, dropped, a, in.dropout, mode);
  return {y.doubles(), dx.doubles(), gated.doubles(), da.doubles(), db.doubles(), dropped.doubles()};
}

template <class B>
class ActivationCuda : public testing::Test {};
TYPED_TEST_SUITE(ActivationCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(ActivationCuda, IsThatOfDouble) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const auto& shape : kShapes) {
    for (const auto kind : kKinds) {
      const auto mode = shape.rows % 2 == 0 ? Accumulate::kAdd : Accumulate::kOverwrite;
      const auto in = Inputs::of<T>(shape, kind, shape.cols % 2 == 0 ? 0.3 : 0.0);
      on_cuda<T>(ctx, in, mode).expect_close_to(oracle(in, mode), test::Tolerance<T>::kRelative, in.name());
    }
  }
}

TYPED_TEST(ActivationCuda, AddsOrOverwritesWithAndWithoutDropout) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const Shape shape : {Shape{33, 136, 8}, Shape{33, 135, 1}}) {
    for (const auto kind : kKinds) {
      for (const auto mode : {Accumulate::kAdd, Accumulate::kOverwrite}) {
        for (const double rate : {0.0, 0.25}) {
          const auto in = Inputs::of<T>(shape, kind, rate);
          on_cuda<T>(ctx, in, mode).expect_close_to(oracle(in, mode), test::Tolerance<T>::kRelative, in.name());
        }
      }
    }
  }
}

TYPED_TEST(ActivationCuda, BitsDoNotDependOnTheOrderOfExecution) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const Shape shape : {Shape{70, 264, 8}, Shape{41, 33, 1}}) {
    const auto in = Inputs::of<T>(shape, ActivationKind::kGeluTanh, 0.1);
    const auto first = on_cuda<T>(ctx, in, Accumulate::kAdd);
    test::for_each_schedule(
        [&](const std::string& order) { on_cuda<T>(ctx, in, Accumulate::kAdd).expect_same(first, in.name() + ", " + order); });
  }
}

// Exactly the elements that the CPU drops, also where a row does not fill its last block of 8.
TYPED_TEST(ActivationCuda, DropsWhatTheCpuDrops) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const Shape shape : {Shape{37, 64, 0}, Shape{37, 61, 0}, Shape{37, 12, 4}, Shape{3, 2000, 8}}) {
    const Dropout dropout{.rate = 0.4, .key = {.seed = 0x123456789abcull, .step = 7, .stream = 1}};
    const auto mask = test::plain_mask(dropout, shape.rows, shape.cols);
    Staged<T> ones(ctx, shape.rows, shape.cols, Values(mask.size(), 1.0), shape.gap), y(ctx, shape.rows, shape.cols, shape.gap);
    dropout_forward<T>(ctx, y, ones, dropout, Accumulate::kOverwrite);
    test::expect_same_bits(y.doubles(), test::quantized<T>(mask), "mask");
  }
}

TYPED_TEST(ActivationCuda, HalvesOfOneMatrixAndWorkInPlace) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t half : {64, 63}) {
    const auto in = Inputs::of<T>({20, half, 0}, ActivationKind::kGeluTanh, 0.2);
    const auto expected = on_cuda<T>(ctx, in, Accumulate::kOverwrite);
    Values both;
    for (std::int64_t r = 0; r < 20; ++r) {
      both.insert(both.end(), in.a.begin() + r * half, in.a.begin() + (r + 1) * half);
      both.insert(both.end(), in.b.begin() + r * half, in.b.begin() + (r + 1) * half);
    }
    Staged<T> ab(ctx, 20, 2 * half, both), dab(ctx, 20, 2 * half), dy(ctx, 20, half, in.dy), y(ctx, 20, half),
        x(ctx, 20, half, in.a);
    const auto a = ab.view().slice_cols(0, half), b = ab.view().slice_cols(half, half);
    gated_activation_forward<T>(ctx, y, a, b, in.kind, in.dropout);
    test::expect_same_bits(y.doubles(), expected.gated, "gated");
    gated_activation_backward<T>(ctx, dab.view().slice_cols(0, half), dab.view().slice_cols(half, half), dy, a, b, in.kind,
                                 in.dropout, Accumulate::kOverwrite);
    const auto d = dab.doubles();
    for (std::int64_t r = 0; r < 20; ++r) {
      for (std::int64_t c = 0; c < half; ++c) {
        ASSERT_EQ(d[static_cast<std::size_t>(r * 2 * half + c)], expected.da[static_cast<std::size_t>(r * half + c)]);
        ASSERT_EQ(d[static_cast<std::size_t>(r * 2 * half + half + c)], expected.db[static_cast<std::size_t>(r * half + c)]);
      }
    }
    activation_forward<T>(ctx, x, x, in.kind, in.dropout);
    test::expect_same_bits(x.doubles(), expected.y, "y in x");
    Staged<T> x2(ctx, 20, half, in.a);
    activation_backward<T>(ctx, dy, dy, x2, in.kind, in.dropout, Accumulate::kOverwrite);
    test::expect_same_bits(dy.doubles(), expected.dx, "dx in dy");
  }
}

// Far out, at zero, and where nothing is a number. Where a value is all but 0, the rounding of the exponent is what is left of it.
TEST(ActivationCudaEdges, ExtremeArguments) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  const Values x = {0, -0.0, 1e-30, -1e-30, 5, -5, 12, -12, 40, -40, 1e10, -1e10, 3e38, -3e38};
  const auto n = static_cast<std::int64_t>(x.size());
  for (const auto kind : kKinds) {
    CpuContext cpu(1);
    Matrix<double> in(1, n, x), y(1, n), dx(1, n), ones(1, n, Values(x.size(), 1.0));
    activation_forward<double>(cpu, y, in, kind, {});
    activation_backward<double>(cpu, dx, ones, in, kind, {}, Accumulate::kOverwrite);
    Staged<float> cin(ctx, 1, n, x), cy(ctx, 1, n), cdx(ctx, 1, n), cones(ctx, 1, n, Values(x.size(), 1.0));
    activation_forward<float>(ctx, cy, cin, kind, {});
    activation_backward<float>(ctx, cdx, cones, cin, kind, {}, Accumulate::kOverwrite);
    const auto gy = cy.doubles(), gdx = cdx.doubles();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double oracle_error = 1e-15 * std::min(std::abs(x[i]), 100.0);  // of 1 + erf, which cancels
      EXPECT_TRUE(std::abs(gy[i] - y.values()[i]) <= 2e-5 * std::abs(y.values()[i]) + oracle_error) << x[i] << ": " << gy[i];
      EXPECT_TRUE(std::abs(gdx[i] - dx.values()[i]) <= 4e-6) << x[i] << ": " << gdx[i];
    }
    Staged<float> nan(ctx, 1, 1, Values{std::nan("")}), out(ctx, 1, 1, Values{0}), slope(ctx, 1, 1, Values{0}),
        one(ctx, 1, 1, Values{1});
    activation_forward<float>(ctx, out, nan, kind, {});
    EXPECT_TRUE(std::isnan(out.doubles()[0]));
  }
}

TEST(ActivationCudaErrors, ShapesAndAliases) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  Staged<float> a(ctx, 4, 8), b(ctx, 4, 7);
  EXPECT_THROW(activation_forward<float>(ctx, a, b, ActivationKind::kRelu, {}), CheckError);
  EXPECT_THROW(activation_backward<float>(ctx, a, a, b, ActivationKind::kRelu, {}, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(activation_backward<float>(ctx, a, a, a, ActivationKind::kRelu, {}, Accumulate::kAdd), CheckError);
  EXPECT_THROW(gated_activation_forward<float>(ctx, a, a, b, ActivationKind::kRelu, {}), CheckError);
  EXPECT_THROW(gated_activation_backward<float>(ctx, a, a, a, a, a, ActivationKind::kRelu, {}, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(dropout_forward<float>(ctx, a, a, {.rate = 0.5}, Accumulate::kAdd), CheckError);
  EXPECT_THROW(dropout_forward<float>(ctx, a, a, {.rate = 1.0}, Accumulate::kOverwrite), CheckError);
  activation_forward<float>(ctx, View<float, 2>(nullptr, {0, 8}), View<float, 2>(nullptr, {0, 8}), ActivationKind::kRelu, {});
}

}  // namespace
}  // namespace galrec

#endif
