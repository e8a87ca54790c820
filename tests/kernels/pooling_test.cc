#include "kernels/pooling/pooling.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Matrix;
using Offsets = std::vector<std::int32_t>;

// Segments of 0 to 40 rows, the first and the last empty.
Offsets ragged(std::int64_t segments) {
  Offsets cu = {0};
  const auto lengths = test::random_ids(segments, 41, 7);
  for (std::int64_t s = 0; s < segments; ++s) cu.push_back(cu.back() + (s > 0 && s + 1 < segments ? lengths[s] : 0));
  if (segments == 1) cu[1] = 17;
  return cu;
}

View<const std::int32_t, 1> view(const Offsets& cu) {
  return view_of(cu);
}

template <class T>
std::vector<T> mean_forward(const std::vector<double>& x, std::int64_t cols, const Offsets& cu, int threads = 2) {
  CpuContext ctx(threads);
  Matrix<T> in(cu.back(), cols, x, 3), y(static_cast<std::int64_t>(cu.size()) - 1, cols, cols);
  segment_mean_forward<T>(ctx, y, in, view(cu));
  return y.values();
}

template <class T>
std::vector<T> mean_backward(const std::vector<double>& dy, std::int64_t cols, const Offsets& cu,
                             Accumulate accumulate = Accumulate::kOverwrite, int threads = 2) {
  CpuContext ctx(threads);
  const bool add = accumulate == Accumulate::kAdd;
  Matrix<T> g(static_cast<std::int64_t>(cu.size()) - 1, cols, dy, 2);
  Matrix<T> dx(cu.back(), cols, std::vector<T>(cu.back() * cols, add ? T(0.5) : std::numeric_limits<T>::quiet_NaN()),
               4);
  segment_mean_backward<T>(ctx, dx, g, view(cu), accumulate);
  auto out = dx.values();
  if (add)
    for (auto& v : out) v -= T(0.5);
  return out;
}

TEST(SegmentMean, ForwardIsTheFormula) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t segments : {1, 2, 33, 127}) {
      const auto cu = ragged(segments);
      const auto x = test::random_normal<double>(cu.back() * cols, 1);
      std::vector<double> expected(static_cast<std::size_t>(segments * cols), 0.0);
      for (std::int64_t s = 0; s < segments; ++s) {
        for (std::int64_t n = cu[s]; n < cu[s + 1]; ++n) {
          for (std::int64_t c = 0; c < cols; ++c) expected[s * cols + c] += x[n * cols + c] / (cu[s + 1] - cu[s]);
        }
      }
      test::expect_close(mean_forward<double>(x, cols, cu), expected, test::Tolerance<double>::kRelative, "y");
      test::expect_close(mean_forward<float>(x, cols, cu), expected, 2e-6, "float y");
    }
  }
}

TEST(SegmentMean, BackwardIsTheDerivative) {
  const std::int64_t cols = 5;
  const auto cu = ragged(9);
  auto x = test::random_normal<double>(cu.back() * cols, 1);
  const auto dy = test::random_normal<double>(9 * cols, 2);
  const auto objective = [&] {
    const auto y = mean_forward<double>(x, cols, cu, 1);
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
    return total;
  };
  const auto dx = mean_backward<double>(dy, cols, cu);
  test::expect_gradient(objective, x, dx, "dx");
  test::expect_close(mean_backward<double>(dy, cols, cu, Accumulate::kAdd), dx, 1e-14, "dx added");
  test::expect_close(mean_backward<float>(dy, cols, cu), dx, 1e-6, "dx float");
}

TEST(SegmentMean, BitsDoNotDependOnThreads) {
  const std::int64_t cols = 257;
  const auto cu = ragged(127);
  const auto x = test::random_normal<double>(cu.back() * cols, 1), dy = test::random_normal<double>(127 * cols, 2);
  for (int threads = 2; threads <= 4; ++threads) {
    test::expect_same_bits(mean_forward<float>(x, cols, cu, threads), mean_forward<float>(x, cols, cu, 1), "y");
    test::expect_same_bits(mean_backward<float>(dy, cols, cu, Accumulate::kOverwrite, threads),
                           mean_backward<float>(dy, cols, cu, Accumulate::kOverwrite, 1), "dx");
  }
}

TEST(SegmentMeanErrors, OffsetsMustCoverTheRowsInOrder) {
  CpuContext ctx(1);
  Matrix<float> x(6, 4, std::vector<float>(24, 1.0f)), y(2, 4), narrow(2, 3);
  for (const Offsets& cu :
       {Offsets{0, 6}, Offsets{0, 3, 5}, Offsets{1, 3, 6}, Offsets{0, 7, 6}, Offsets{0, -1, 6}, Offsets{}}) {
    EXPECT_THROW(segment_mean_forward<float>(ctx, y, x, view(cu)), CheckError);
    EXPECT_THROW(segment_mean_backward<float>(ctx, x, y, view(cu), Accumulate::kAdd), CheckError);
  }
  const Offsets good = {0, 3, 6};
  EXPECT_THROW(segment_mean_forward<float>(ctx, narrow, x, view(good)), CheckError);
}

template <class T>
struct Unit {
  std::vector<T> y, norm;
};

template <class T>
Unit<T> unit_forward(const std::vector<double>& x, std::int64_t rows, std::int64_t cols, int threads = 2) {
  CpuContext ctx(threads);
  Matrix<T> in(rows, cols, x, 3), y(rows, cols, cols), norm(1, rows);
  l2_normalize_forward<T>(ctx, y, norm, in);
  return {y.values(), norm.values()};
}

template <class T>
std::vector<T> unit_backward(const std::vector<double>& dy, const std::vector<double>& x, std::int64_t rows,
                             std::int64_t cols, Accumulate accumulate = Accumulate::kOverwrite, int threads = 2) {
  CpuContext ctx(threads);
  const bool add = accumulate == Accumulate::kAdd;
  const auto f = unit_forward<T>(x, rows, cols);
  Matrix<T> y(rows, cols, f.y), norm(1, rows, f.norm), g(rows, cols, dy, 2);
  Matrix<T> dx(rows, cols, std::vector<T>(rows * cols, add ? T(0.5) : std::numeric_limits<T>::quiet_NaN()), 4);
  l2_normalize_backward<T>(ctx, dx, g, y, norm, accumulate);
  auto out = dx.values();
  if (add)
    for (auto& v : out) v -= T(0.5);
  return out;
}

TEST(L2Normalize, ForwardIsTheFormula) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t rows : {1, 33, 257}) {
      const auto x = test::random_normal<double>(rows * cols, 1);
      std::vector<double> y, norm;
      for (std::int64_t n = 0; n < rows; ++n) {
        double square = 0;
        for (std::int64_t c = 0; c < cols; ++c) square += x[n * cols + c] * x[n * cols + c];
        norm.push_back(std::sqrt(square));
        for (std::int64_t c = 0; c < cols; ++c) y.push_back(x[n * cols + c] / norm[n]);
      }
      const auto exact = unit_forward<double>(x, rows, cols);
      const auto single = unit_forward<float>(x, rows, cols);
      test::expect_close(exact.y, y, test::Tolerance<double>::kRelative, "y");
      test::expect_close(exact.norm, norm, test::Tolerance<double>::kRelative, "norm");
      test::expect_close(single.y, y, 2e-6, "float y");
      test::expect_close(single.norm, norm, 2e-6, "float norm");
    }
  }
}

TEST(L2Normalize, BackwardIsTheDerivative) {
  const std::int64_t rows = 6, cols = 33;
  auto x = test::random_normal<double>(rows * cols, 1);
  const auto dy = test::random_normal<double>(rows * cols, 2);
  const auto objective = [&] {
    const auto y = unit_forward<double>(x, rows, cols, 1).y;
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
    return total;
  };
  const auto dx = unit_backward<double>(dy, x, rows, cols);
  test::expect_gradient(objective, x, dx, "dx");
  test::expect_close(unit_backward<double>(dy, x, rows, cols, Accumulate::kAdd), dx, 1e-13, "dx added");
}

TEST(L2Normalize, BackwardOfFloatIsThatOfDouble) {
  for (std::int64_t cols : test::hostile_extents()) {
    const auto x = test::random_normal<double>(33 * cols, 1), dy = test::random_normal<double>(33 * cols, 2);
    // Errors relative to |dy| / |x|: with one column the gradient itself is zero.
    const auto expected = unit_backward<double>(dy, x, 33, cols),
               actual = test::convert<double>(unit_backward<float>(dy, x, 33, cols));
    const auto norm = unit_forward<double>(x, 33, cols).norm;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double scale = (std::abs(dy[i]) + 1) / norm[i / cols];
      ASSERT_TRUE(std::abs(actual[i] - expected[i]) <= 2e-6 * scale) << actual[i] << " and " << expected[i];
    }
  }
}

TEST(L2Normalize, ShortRowsAreDividedByEps) {
  const std::int64_t cols = 4;
  const std::vector<double> x = {0, 0, 0, 0, 3e-13, -4e-13, 0, 0, 3, 4, 0, 0},
                            dy = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4};
  const auto f = unit_forward<double>(x, 3, cols);
  const auto dx = unit_backward<double>(dy, x, 3, cols);
  EXPECT_EQ(f.norm[0], 1e-12);
  EXPECT_EQ(f.norm[1], 1e-12);
  EXPECT_EQ(f.y[0], 0.0);
  EXPECT_NEAR(f.y[4], 0.3, 1e-12);
  EXPECT_NEAR(f.y[9], 0.8, 1e-12);
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(dx[i] * 1e-12, dy[i], 1e-9);
  EXPECT_NEAR(dx[8], (1 - 0.6 * (0.6 + 1.6)) / 5, 1e-12);
}

TEST(L2Normalize, BitsDoNotDependOnThreads) {
  const auto x = test::random_normal<double>(769 * 127, 1), dy = test::random_normal<double>(769 * 127, 2);
  for (int threads = 2; threads <= 4; ++threads) {
    test::expect_same_bits(unit_forward<float>(x, 769, 127, threads).y, unit_forward<float>(x, 769, 127, 1).y, "y");
    test::expect_same_bits(unit_backward<float>(dy, x, 769, 127, Accumulate::kOverwrite, threads),
                           unit_backward<float>(dy, x, 769, 127, Accumulate::kOverwrite, 1), "dx");
  }
}

TEST(L2NormalizeErrors, WrongShapesAreNamed) {
  CpuContext ctx(1);
  Matrix<float> a(4, 8, std::vector<float>(32, 1.0f)), b(4, 7), y(4, 8), norm(1, 4), wrong(1, 5);
  EXPECT_THROW(l2_normalize_forward<float>(ctx, b, norm, a), CheckError);
  EXPECT_THROW(l2_normalize_forward<float>(ctx, y, wrong, a), CheckError);
  EXPECT_THROW(l2_normalize_backward<float>(ctx, y, b, a, norm, Accumulate::kAdd), CheckError);
  EXPECT_THROW(l2_normalize_backward<float>(ctx, y, a, a, wrong, Accumulate::kAdd), CheckError);
}

}  // namespace
}  // namespace galrec
