// Pooling and row normalisation on CUDA against the CPU in double.
#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/pooling/pooling.h"
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
using Offsets = std::vector<std::int32_t>;

// Segments of 0 to 40 rows, the first and the last empty.
Offsets ragged(std::int64_t segments) {
  Offsets cu = {0};
  const auto lengths = test::random_ids(segments, 41, 7);
  for (std::int64_t s = 0; s < segments; ++s) cu.push_back(cu.back() + (s > 0 && s + 1 < segments ? lengths[s] : 0));
  if (segments == 1) cu[1] = 17;
  return cu;
}

Staged<std::int32_t> on_device(CudaContext& ctx, const Offsets& cu) {
  return Staged<std::int32_t>(ctx, 1, static_cast<std::int64_t>(cu.size()), cu);
}

template <class T>
struct Means {
  Values y, dx;
  Means(CudaContext& ctx, const Offsets& cu, std::int64_t cols, std::int64_t gap, const Values& x, const Values& dy,
        Accumulate mode) {
    const auto offsets = on_device(ctx, cu);
    const auto segments = static_cast<std::int64_t>(cu.size()) - 1;
    const Values start(x.size(), mode == Accumulate::kAdd ? 0.5 : std::nan(""));
    Staged<T> in(ctx, cu.back(), cols, x, gap), out(ctx, segments, cols, gap), g(ctx, segments, cols, dy, gap),
        d(ctx, cu.back(), cols, start, gap);
    segment_mean_forward<T>(ctx, out, in, offsets);
    segment_mean_backward<T>(ctx, d, g, offsets, mode);
    ctx.check_status();
    y = out.doubles();
    dx = d.doubles();
  }
};

template <class B>
class PoolingCuda : public testing::Test {};
TYPED_TEST_SUITE(PoolingCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(PoolingCuda, SegmentMeansAreThoseOfDouble) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t cols : {1, 31, 33, 127, 257, 769, 8, 64, 768}) {
    for (const std::int64_t segments : {1, 2, 33, 127}) {
      if (segments == 127 && cols > 257) continue;
      const auto cu = ragged(segments);
      const auto x = test::quantized<T>(test::random_normal<double>(cu.back() * cols, 1));
      const auto dy = test::quantized<T>(test::random_normal<double>(segments * cols, 2));
      CpuContext cpu(1);
      Matrix<double> in(cu.back(), cols, x), y(segments, cols), g(segments, cols, dy), dx(cu.back(), cols, Values(x.size(), 0.5));
      const auto mode = segments == 33 ? Accumulate::kAdd : Accumulate::kOverwrite;
      segment_mean_forward<double>(cpu, y, in, view_of(cu));
      segment_mean_backward<double>(cpu, dx, g, view_of(cu), mode);
      const Means<T> got(ctx, cu, cols, cols % 3 == 0 ? 1 : 8, x, dy, mode);
      const auto what = std::to_string(segments) + " segments, " + std::to_string(cols) + " columns";
      test::expect_close(got.y, y.values(), test::Tolerance<T>::kRelative, what + " y");
      test::expect_close(got.dx, dx.values(), test::Tolerance<T>::kRelative, what + " dx");
    }
  }
}

TYPED_TEST(PoolingCuda, OffsetsThatCannotBeTrueAreReported) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  // Not from 0, falling, below 0, short of the rows, beyond them.
  for (const Offsets& cu : {Offsets{1, 4, 9}, Offsets{0, 6, 4, 9}, Offsets{0, -3, 9}, Offsets{0, 3, 8}, Offsets{0, 3, 10}}) {
    const auto offsets = on_device(ctx, cu);
    const auto segments = static_cast<std::int64_t>(cu.size()) - 1;
    Staged<T> x(ctx, 9, 16, Values(9 * 16, 1.0)), y(ctx, segments, 16), dy(ctx, segments, 16, Values(segments * 16, 1.0)),
        dx(ctx, 9, 16);
    segment_mean_forward<T>(ctx, y, x, offsets);
    EXPECT_THROW(ctx.check_status(), CheckError);
    segment_mean_backward<T>(ctx, dx, dy, offsets, Accumulate::kOverwrite);
    EXPECT_THROW(ctx.synchronize(), CheckError);
    ctx.check_status();  // reported once
  }
}

template <class T>
struct Units {
  Values y, norm, dx;
  Units(CudaContext& ctx, std::int64_t rows, std::int64_t cols, std::int64_t gap, const Values& x, const Values& dy,
        const Values& unit, Accumulate mode) {
    const Values start(x.size(), mode == Accumulate::kAdd ? 0.5 : std::nan(""));
    Staged<T> in(ctx, rows, cols, x, gap), out(ctx, rows, cols, gap), g(ctx, rows, cols, dy, gap), u(ctx, rows, cols, unit, gap),
        d(ctx, rows, cols, start, gap);
    Staged<float> lengths(ctx, 1, rows);
    l2_normalize_forward<T>(ctx, out, lengths, in);
    l2_normalize_backward<T>(ctx, d, g, u, lengths, mode);
    y = out.doubles();
    norm = lengths.doubles();
    dx = d.doubles();
  }
};

TYPED_TEST(PoolingCuda, UnitRowsAreThoseOfDouble) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t cols : {1, 31, 33, 127, 257, 769, 8, 128, 256, 512, 768, 1024, 1032, 2304}) {
    for (const std::int64_t rows : {1, 5, 67}) {
      if (rows == 67 && cols > 300) continue;
      auto x = test::quantized<T>(test::random_normal<double>(rows * cols, 1));
      if (rows > 3) {
        std::fill_n(x.begin() + cols, cols, 0.0);  // a row of length 0, and one shorter than the least length
        for (std::int64_t c = 0; c < cols; ++c) x[3 * cols + c] *= 4e-13 / std::sqrt(static_cast<double>(cols));
        x = test::quantized<T>(x);
      }
      const auto dy = test::quantized<T>(test::random_normal<double>(rows * cols, 2));
      CpuContext cpu(1);
      Matrix<double> in(rows, cols, x), y(rows, cols), norm(1, rows), g(rows, cols, dy), dx(rows, cols, Values(x.size(), 0.5));
      l2_normalize_forward<double>(cpu, y, norm, in);
      const auto unit = test::quantized<T>(y.values());  // backward sees what was stored
      Matrix<double> stored(rows, cols, unit);
      const auto mode = cols % 2 == 0 ? Accumulate::kAdd : Accumulate::kOverwrite;
      l2_normalize_backward<double>(cpu, dx, g, stored, norm, mode);
      const Units<T> got(ctx, rows, cols, cols % 3 == 0 ? 1 : 8, x, dy, unit, mode);
      const auto what = std::to_string(rows) + "x" + std::to_string(cols);
      test::expect_close(got.y, y.values(), test::Tolerance<T>::kRelative, what + " y");
      test::expect_close(got.norm, norm.values(), test::Tolerance<float>::kRelative, what + " norm");
      test::expect_close(got.dx, dx.values(), test::Tolerance<T>::kRelative, what + " dx");
    }
  }
}

TYPED_TEST(PoolingCuda, BitsDoNotDependOnTheOrderOfExecution) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto cu = ragged(30);
  for (const std::int64_t cols : {136, 33}) {
    const auto x = test::quantized<T>(test::random_normal<double>(cu.back() * cols, 1));
    const auto dy = test::quantized<T>(test::random_normal<double>(cu.back() * cols, 2));
    const Values of_segments(dy.begin(), dy.begin() + 30 * cols);
    const Means<T> means(ctx, cu, cols, 8, x, of_segments, Accumulate::kAdd);
    const Units<T> units(ctx, cu.back(), cols, 8, x, dy, x, Accumulate::kAdd);
    test::for_each_schedule([&](const std::string& order) {
      const Means<T> m(ctx, cu, cols, 8, x, of_segments, Accumulate::kAdd);
      const Units<T> u(ctx, cu.back(), cols, 8, x, dy, x, Accumulate::kAdd);
      test::expect_same_bits(m.y, means.y, order + " mean");
      test::expect_same_bits(m.dx, means.dx, order + " mean dx");
      test::expect_same_bits(u.y, units.y, order + " unit");
      test::expect_same_bits(u.norm, units.norm, order + " norm");
      test::expect_same_bits(u.dx, units.dx, order + " unit dx");
    });
  }
}

TEST(PoolingCudaErrors, ShapesAndNothing) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  Staged<float> a(ctx, 4, 8), b(ctx, 4, 7), three(ctx, 1, 3);
  const auto cu = on_device(ctx, {0, 4});
  EXPECT_THROW(segment_mean_forward<float>(ctx, a, b, cu), CheckError);
  EXPECT_THROW(segment_mean_forward<float>(ctx, a, a, cu), CheckError);
  EXPECT_THROW(segment_mean_backward<float>(ctx, a, a, cu, Accumulate::kOverwrite), CheckError);
  EXPECT_THROW(l2_normalize_forward<float>(ctx, a, three, b), CheckError);
  EXPECT_THROW(l2_normalize_backward<float>(ctx, a, a, a, three, Accumulate::kOverwrite), CheckError);
  const View<float, 2> none(nullptr, {0, 8});
  segment_mean_forward<float>(ctx, none, none, cu.vector().slice(0, 1));
  l2_normalize_forward<float>(ctx, none, View<float, 1>(nullptr, {0}), none);
}

}  // namespace
}  // namespace galrec

#endif
