// The CUDA step against the CPU's, in double, and what only it has: spans in device memory, scalars in device memory.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/adamw/adamw.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;
using Spans = std::vector<AdamWSpan>;

constexpr std::int64_t kElements = 41000, kAveraged = 40770;

// Odd sizes and offsets, gaps (frozen elements), with and without decay and average; spans that cross blocks, that
// begin and end inside vectors, and averages that lie aligned to their span or not.
Spans hostile_spans() {
  return {{.offset = 3, .size = 1, .decay = true, .ema_offset = 40000},
          {.offset = 4, .size = 31, .decay = false},
          {.offset = 36, .size = 2, .decay = true},
          {.offset = 40, .size = 20001, .decay = true, .ema_offset = 0},
          {.offset = 20045, .size = 19000, .decay = false, .ema_offset = 20002},
          {.offset = 40040, .size = 0, .decay = true},
          {.offset = 40077, .size = 769, .decay = false, .ema_offset = 40001}};
}

AdamWOptions options(std::int64_t step) {
  return {.lr = 0.01 / static_cast<double>(step),
          .beta1 = 0.9,
          .beta2 = 0.98,
          .eps = 1e-6,
          .weight_decay = 0.1,
          .gradient_scale = 0.37,
          .max_norm = step % 2 == 0 ? 1.5 : 1e6,
          .ema_momentum = 0.95,
          .step = step};
}

struct Host {
  std::vector<double> p = test::random_normal<double>(kElements, 1), m = std::vector<double>(kElements), v = m,
                      ema = test::random_normal<double>(kAveraged, 2);
};

// Arenas in device memory; `skew` elements before them break their alignment.
struct Device {
  CudaContext& ctx;
  Staged<float> p, m, v, ema;
  Staged<bfloat16> param_shadow, ema_shadow;
  Buffer<AdamWSpan> spans;
  Buffer<double> sum;
  std::int64_t skew;

  Device(CudaContext& c, const Host& h, const Spans& s, std::int64_t by = 0)
      : ctx(c),
        p(c, 1, kElements + by, moved(h.p, by)),
        m(c, 1, kElements + by, moved(h.m, by)),
        v(c, 1, kElements + by, moved(h.v, by)),
        ema(c, 1, kAveraged + by, moved(h.ema, by)),
        param_shadow(c, 1, kElements + by, std::vector<double>(kElements + by, -7.0)),
        ema_shadow(c, 1, kAveraged + by, std::vector<double>(kAveraged + by, -7.0)),
        spans(std::span<const AdamWSpan>(s), c.memory()),
        sum(1, c.memory()),
        skew(by) {}

  static std::vector<double> moved(const std::vector<double>& x, std::int64_t by) {
    std::vector<double> out(static_cast<std::size_t>(by), 9.0);
    out.insert(out.end(), x.begin(), x.end());
    return out;
  }
  template <class T>
  View<T, 1> cut(const Staged<T>& x) const {
    const auto all = x.vector();
    return all.slice(skew, all.extent(0) - skew);
  }
  template <class T>
  std::vector<double> values(const Staged<T>& x) const {
    const auto all = x.doubles();
    return {all.begin() + skew, all.end()};
  }
  void step(const std::vector<double>& grad, AdamWOptions o) {
    const Staged<float> g(ctx, 1, kElements + skew, moved(grad, skew));
    sum_of_squares<float>(ctx, sum.view(), cut(g));
    o.square_sum = sum.view();
    adamw_step<float>(ctx, cut(p), cut(m), cut(v), cut(ema), {cut(param_shadow), cut(ema_shadow)}, cut(g), spans.view(),
                      o);
    ctx.synchronize();
  }
  std::vector<std::vector<double>> all() const {
    return {values(p), values(m), values(v), values(ema), values(param_shadow), values(ema_shadow)};
  }
};

void cpu_step(Host& h, const std::vector<double>& grad, const Spans& spans, AdamWOptions o) {
  CpuContext cpu(2);
  double sum = 0;
  sum_of_squares<double>(cpu, View<double, 1>(&sum, {1}), view_of(grad));
  o.square_sum = View<const double, 1>(&sum, {1});
  adamw_step<double>(cpu, view_of(h.p), view_of(h.m), view_of(h.v), view_of(h.ema), {}, view_of(grad), view_of(spans),
                     o);
}

template <class B>
class AdamWCuda : public testing::Test {};
TYPED_TEST_SUITE(AdamWCuda, testing::Types<test::CudaFloat>, test::BackendNames);

TYPED_TEST(AdamWCuda, EqualsTheOracleOverSeveralSteps) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t skew : {0, 1}) {
    Host host;
    Device device(ctx, host, hostile_spans(), skew);
    for (std::int64_t step = 1; step <= 5; ++step) {
      const auto grad =
          test::random_normal<double>(kElements, 10 + static_cast<std::uint64_t>(step), step % 2 == 0 ? 1e-3 : 1.0);
      cpu_step(host, grad, hostile_spans(), options(step));
      device.step(grad, options(step));
      const std::string what = "step " + std::to_string(step);
      test::expect_close(device.values(device.p), host.p, 2e-6, what + " parameters");
      test::expect_close(device.values(device.m), host.m, 2e-6, what + " m");
      test::expect_close(device.values(device.v), host.v, 2e-6, what + " v");
      test::expect_close(device.values(device.ema), host.ema, 2e-6, what + " average");
    }
    // Shadows are the values rounded; what is frozen kept its bits everywhere.
    std::vector<double> shadow(kElements, -7.0), ema_shadow(kAveraged, -7.0);
    std::vector<char> trained(kElements, 0);
    const auto p = device.values(device.p), ema = device.values(device.ema);
    for (const auto& s : hostile_spans()) {
      for (std::int64_t i = 0; i < s.size; ++i) {
        trained[s.offset + i] = 1;
        shadow[s.offset + i] = test::quantized<bfloat16>(std::vector<double>{p[s.offset + i]})[0];
        if (s.ema_offset >= 0)
          ema_shadow[s.ema_offset + i] = test::quantized<bfloat16>(std::vector<double>{ema[s.ema_offset + i]})[0];
      }
    }
    test::expect_same_bits(device.values(device.param_shadow), shadow, "parameters' shadow");
    test::expect_same_bits(device.values(device.ema_shadow), ema_shadow, "average's shadow");
    const Host before;
    const auto m = device.values(device.m);
    for (std::int64_t i = 0; i < kElements; ++i) {
      ASSERT_EQ(p[i] == before.p[i], trained[i] == 0) << i;
      ASSERT_EQ(m[i] == 0, trained[i] == 0) << i;
    }
  }
}

TYPED_TEST(AdamWCuda, BitsDependNeitherOnOrdersNorOnSpansNorOnAlignment) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Host host;
  const auto grad = test::random_normal<double>(kElements, 3);
  const auto run = [&](const Spans& spans, std::int64_t skew) {
    Device device(ctx, host, spans, skew);
    for (std::int64_t step = 1; step <= 2; ++step) device.step(grad, options(step));
    return device.all();
  };
  const Spans whole = {{.offset = 0, .size = kAveraged, .ema_offset = 0}};
  Spans cut;
  for (std::int64_t at = 0; at < kAveraged;) {
    const std::int64_t size = std::min<std::int64_t>(kAveraged - at, test::hostile_extents()[cut.size() % 6]);
    cut.push_back({.offset = at, .size = size, .ema_offset = at});
    at += size;
  }
  const auto once = run(whole, 0);
  EXPECT_EQ(run(cut, 0), once);
  EXPECT_EQ(run(whole, 3), once);
  EXPECT_EQ(run(cut, 1), once);
  test::for_each_schedule([&](const std::string& what) { EXPECT_EQ(run(cut, 0), once) << what; });
}

TYPED_TEST(AdamWCuda, SumOfSquares) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t n : {0, 1, 31, 33, 127, 257, 769, 4095, 65535, 65536, 65537, 500001}) {
    const auto x = test::random_normal<double>(n + 1, 4);
    const Staged<float> staged(ctx, 1, n + 1, x);
    const Staged<double> out(ctx, 1, 1);
    for (const std::int64_t first : {0, 1}) {
      long double expected = 0;
      for (std::int64_t i = first; i < first + n; ++i) expected += static_cast<long double>(x[i]) * x[i];
      double seen = NAN;
      test::for_each_schedule([&](const std::string& what) {
        sum_of_squares<float>(ctx, out.vector(), staged.vector().slice(first, n));
        const double sum = out.values()[0];
        EXPECT_TRUE(std::abs(sum - static_cast<double>(expected)) <= 1e-12 * static_cast<double>(expected))
            << n << ": " << sum;
        if (std::isnan(seen)) seen = sum;
        EXPECT_EQ(sum, seen) << what;
      });
    }
  }
}

TYPED_TEST(AdamWCuda, TakesRateAndStepFromMemory) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Host host;
  const auto grad = test::random_normal<double>(kElements, 3);
  Device one(ctx, host, hostile_spans()), other(ctx, host, hostile_spans());
  const double both[] = {options(5).lr, 5};
  const Buffer<double> scalars(std::span<const double>(both), ctx.memory());
  one.step(grad, options(5));
  auto o = options(5);
  o.lr = 77;
  o.step = 1;
  o.lr_and_step = scalars.view();
  other.step(grad, o);
  EXPECT_EQ(one.all(), other.all());
}

TYPED_TEST(AdamWCuda, ChangesNothingWhereGradientsAreNotFinite) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Host host;
  Device device(ctx, host, hostile_spans());
  const auto before = device.all();
  auto grad = test::random_normal<double>(kElements, 3);
  for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    grad[20] = bad;
    EXPECT_THROW(device.step(grad, options(1)), NumericalError);
    EXPECT_EQ(device.all(), before);
  }
}

TYPED_TEST(AdamWCuda, RefusesBadArguments) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Staged<float> ten(ctx, 1, 10), nine(ctx, 1, 9);
  const Staged<double> two(ctx, 1, 2);
  const auto step = [&](const Staged<float>& moments, const AdamWOptions& o) {
    adamw_step<float>(ctx, ten.vector(), moments, ten.vector(), {}, {}, ten, {}, o);
  };
  EXPECT_NO_THROW(step(ten, {}));
  EXPECT_THROW(step(nine, {}), CheckError);
  EXPECT_THROW(step(ten, {.step = 0}), CheckError);
  EXPECT_THROW(step(ten, {.max_norm = 1}), CheckError);
  EXPECT_THROW(step(ten, {.square_sum = two.vector()}), CheckError);
  EXPECT_THROW(sum_of_squares<float>(ctx, two.vector(), ten), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
