#include "kernels/adamw/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Guarded;

// torch.optim.AdamW and an exponential average, parameter by parameter, written down from its documentation, in double.
struct Reference {
  std::vector<double> p, m, v, ema;

  void step(const std::vector<double>& grad, const std::vector<AdamWSpan>& spans, const AdamWOptions& o) {
    for (const auto& s : spans) {
      for (std::int64_t i = s.offset; i < s.offset + s.size; ++i) {
        const double g = o.gradient_scale * grad[i];
        if (s.decay) p[i] -= o.lr * o.weight_decay * p[i];
        m[i] += (g - m[i]) * (1 - o.beta1);
        v[i] = v[i] * o.beta2 + g * g * (1 - o.beta2);
        const double m_hat = m[i] / (1 - std::pow(o.beta1, o.step)), v_hat = v[i] / (1 - std::pow(o.beta2, o.step));
        p[i] -= o.lr * m_hat / (std::sqrt(v_hat) + o.eps);
        if (s.ema_offset >= 0) {
          double& average = ema[s.ema_offset + i - s.offset];
          average = o.ema_momentum * average + (1 - o.ema_momentum) * p[i];
        }
      }
    }
  }
};

template <class T>
struct State {
  Guarded<T> p, m, v, ema;
  explicit State(const Reference& r)
      : p(test::convert<T>(r.p)), m(test::convert<T>(r.m)), v(test::convert<T>(r.v)), ema(test::convert<T>(r.ema)) {}
};

Reference initial(std::int64_t n, std::int64_t averaged) {
  return {test::random_normal<double>(n, 1), std::vector<double>(n, 0.0), std::vector<double>(n, 0.0),
          test::random_normal<double>(averaged, 2)};
}

// Odd sizes, gaps (frozen elements), with and without decay and average, one span longer than a piece.
std::vector<AdamWSpan> hostile_spans() {
  return {{.offset = 3, .size = 1, .decay = true, .ema_offset = 40000},
          {.offset = 4, .size = 31, .decay = false},
          {.offset = 40, .size = 40000, .decay = true, .ema_offset = 0},
          {.offset = 40040, .size = 0, .decay = true},
          {.offset = 40077, .size = 769, .decay = false, .ema_offset = 40001}};
}
constexpr std::int64_t kElements = 41000, kAveraged = 40770;

AdamWOptions options(std::int64_t step) {
  return {.lr = 0.01 / static_cast<double>(step), .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.1, .gradient_scale = 0.37,
          .ema_momentum = 0.95, .step = step};
}

template <class T>
void compare_steps(double tolerance) {
  Reference reference = initial(kElements, kAveraged);
  State<T> state(reference);
  CpuContext ctx(2);
  const auto spans = hostile_spans();
  for (std::int64_t step = 1; step <= 7; ++step) {
    const auto grad = test::random_normal<double>(kElements, 10 + step, step % 2 == 0 ? 1e-3 : 1.0);
    const auto converted = test::convert<T>(grad);
    reference.step(grad, spans, options(step));
    adamw_step<T>(ctx, state.p.vector(), state.m.vector(), state.v.vector(), state.ema.vector(), {}, view_of(converted), view_of(spans), options(step));
    const std::string what = "step " + std::to_string(step);
    test::expect_close(state.p.values(), reference.p, tolerance, what + " parameters");
    test::expect_close(state.m.values(), reference.m, tolerance, what + " m");
    test::expect_close(state.v.values(), reference.v, tolerance, what + " v");
    test::expect_close(state.ema.values(), reference.ema, tolerance, what + " average");
  }
}

TEST(AdamW, EqualsTheReferenceOverSeveralSteps) {
  compare_steps<double>(1e-13);
  compare_steps<float>(2e-6);
}

// Three steps of torch.optim.AdamW in float64 (torch 2.15): a group of three elements with decay, one of two without.
TEST(AdamW, EqualsTorch) {
  const std::vector<std::vector<double>> grads = {{0.1, -0.2, 300, 1e-6, -0.5}, {-0.3, 0.2, 0.1, 0, 2}, {0.5, 0, -0.4, -1e-6, 0.125}};
  const std::vector<std::vector<double>> torch = {
      {0.8990000099999991, -1.8980000049999997, 0.39950000000333336, 0.15099009900990099, 4.099999998},
      {0.9475199911100656, -1.9013651626265786, 0.3320698613481133, 0.08491889532119677, 4.044049648979945},
      {0.9129856610796928, -1.903532233521654, 0.28000822000730674, 0.09340177316331325, 3.997010919010743}};
  CpuContext ctx(1);
  std::vector<double> p = {1, -2, 0.5, 0.25, 4}, m(5), v(5);
  const std::vector<AdamWSpan> spans = {{.offset = 0, .size = 3}, {.offset = 3, .size = 2, .decay = false}};
  for (std::int64_t step = 1; step <= 3; ++step) {
    adamw_step<double>(ctx, view_of(p), view_of(m), view_of(v), {}, {}, view_of(grads[step - 1]), view_of(spans),
                       {.lr = 0.1, .weight_decay = 0.01, .step = step});
    for (int i = 0; i < 5; ++i) EXPECT_NEAR(p[i], torch[step - 1][i], 1e-14) << "step " << step << ", element " << i;
  }
}

TEST(AdamW, FrozenElementsKeepTheirBits) {
  const Reference reference = initial(kElements, kAveraged);
  State<float> state(reference);
  CpuContext ctx(2);
  const auto spans = hostile_spans();
  const auto grad = test::random_normal<float>(kElements, 3);
  const auto before = state.p.values();
  adamw_step<float>(ctx, state.p.vector(), state.m.vector(), state.v.vector(), state.ema.vector(), {}, view_of(grad), view_of(spans), options(1));
  std::vector<char> trained(kElements, 0);
  for (const auto& s : spans) std::fill_n(trained.begin() + s.offset, s.size, 1);
  const auto after = state.p.values(), m = state.m.values();
  for (std::int64_t i = 0; i < kElements; ++i) {
    ASSERT_EQ(before[i] == after[i], trained[i] == 0) << i;
    ASSERT_EQ(m[i] == 0, trained[i] == 0) << i;
  }
}

// How the arena is cut into spans does not change a bit of any element.
TEST(AdamW, BitsDependNeitherOnThreadsNorOnSpans) {
  const Reference reference = initial(100000, 100000);
  const auto grad = test::random_normal<float>(100000, 3);
  const auto run = [&](int threads, const std::vector<AdamWSpan>& spans) {
    State<float> state(reference);
    CpuContext ctx(threads);
    for (std::int64_t step = 1; step <= 3; ++step) {
      adamw_step<float>(ctx, state.p.vector(), state.m.vector(), state.v.vector(), state.ema.vector(), {}, view_of(grad), view_of(spans), options(step));
    }
    auto all = state.p.values();
    for (const auto& more : {state.m.values(), state.v.values(), state.ema.values()}) all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::vector<AdamWSpan> whole = {{.offset = 0, .size = 100000, .ema_offset = 0}};
  std::vector<AdamWSpan> cut;
  for (std::int64_t at = 0; at < 100000;) {
    const std::int64_t size = std::min<std::int64_t>(100000 - at, test::hostile_extents()[cut.size() % 6]);
    cut.push_back({.offset = at, .size = size, .ema_offset = at});
    at += size;
  }
  const auto one = run(1, whole);
  for (int threads = 2; threads <= 4; ++threads) test::expect_same_bits(run(threads, whole), one, "threads");
  test::expect_same_bits(run(2, cut), one, "spans");
}

template <class T>
double squares(CpuContext& ctx, const std::vector<T>& x) {
  double sum = NAN;
  sum_of_squares<T>(ctx, View<double, 1>(&sum, {1}), view_of(x));
  return sum;
}

template <class T>
void check_sum_of_squares(std::int64_t n) {
  auto x = test::random_normal<T>(n, 4);
  long double expected = 0;
  for (T value : x) expected += static_cast<long double>(value) * value;
  CpuContext one(1);
  const double sum = squares(one, x);
  EXPECT_NEAR(sum, static_cast<double>(expected), 1e-12 * static_cast<double>(expected)) << n;
  for (int threads = 2; threads <= 4; ++threads) {
    CpuContext ctx(threads);
    EXPECT_EQ(squares(ctx, x), sum) << n << " elements, " << threads << " threads";
  }
}

TEST(AdamW, SumOfSquares) {
  for (std::int64_t n : {0, 1, 31, 33, 127, 257, 769, 65535, 65536, 65537, 500000}) {
    check_sum_of_squares<float>(n);
    check_sum_of_squares<double>(n);
  }
}

// torch.nn.utils.clip_grad_norm_: the norm after gradient_scale, and only where it is above the limit.
TEST(AdamW, ClipsToANorm) {
  CpuContext ctx(2);
  const auto grad = test::random_normal<double>(1000, 3);
  const std::vector<AdamWSpan> spans = {{.offset = 0, .size = 1000}};
  const double sum = squares(ctx, grad), norm = std::sqrt(sum);
  const auto run = [&](AdamWOptions o) {
    std::vector<double> p(1000, 1.0), m(1000), v(1000);
    adamw_step<double>(ctx, view_of(p), view_of(m), view_of(v), {}, {}, view_of(grad), view_of(spans), o);
    return m;
  };
  for (const double scale : {1.0, 0.25}) {
    for (const double limit : {0.1, 0.5 * norm, 10 * norm}) {
      const double factor = scale * norm > limit ? scale * limit / (scale * norm + 1e-6) : scale;
      const auto clipped = run({.gradient_scale = scale, .max_norm = limit, .square_sum = View<const double, 1>(&sum, {1})});
      test::expect_close(clipped, run({.gradient_scale = factor}), 1e-14, "m");
      EXPECT_NE(clipped, run({.gradient_scale = 0.99 * factor}));
    }
  }
}

TEST(AdamW, TakesRateAndStepFromMemory) {
  CpuContext ctx(1);
  const auto grad = test::random_normal<double>(10, 3);
  const std::vector<AdamWSpan> spans = {{.offset = 0, .size = 10}};
  const double both[] = {0.02, 5};
  const auto run = [&](AdamWOptions o) {
    std::vector<double> p(10, 1.0), m(10), v(10, 0.5);
    adamw_step<double>(ctx, view_of(p), view_of(m), view_of(v), {}, {}, view_of(grad), view_of(spans), o);
    return p;
  };
  EXPECT_EQ(run({.lr = 7, .weight_decay = 0.1, .lr_and_step = View<const double, 1>(both, {2})}), run({.lr = 0.02, .weight_decay = 0.1, .step = 5}));
}

TEST(AdamW, ShadowsAreTheNewValuesRounded) {
  const Reference reference = initial(kElements, kAveraged);
  State<float> state(reference);
  CpuContext ctx(2);
  const auto spans = hostile_spans();
  const auto grad = test::random_normal<float>(kElements, 3);
  std::vector<bfloat16> param(kElements, bfloat16(-7.0f)), ema(kAveraged, bfloat16(-7.0f));
  adamw_step<float>(ctx, state.p.vector(), state.m.vector(), state.v.vector(), state.ema.vector(), {view_of(param), view_of(ema)}, view_of(grad),
                    view_of(spans), options(1));
  auto expected = std::vector<bfloat16>(kElements, bfloat16(-7.0f)), expected_ema = std::vector<bfloat16>(kAveraged, bfloat16(-7.0f));
  const auto p = state.p.values(), average = state.ema.values();
  for (const auto& s : spans) {
    for (std::int64_t i = 0; i < s.size; ++i) {
      expected[s.offset + i] = bfloat16(p[s.offset + i]);
      if (s.ema_offset >= 0) expected_ema[s.ema_offset + i] = bfloat16(average[s.ema_offset + i]);
    }
  }
  for (std::int64_t i = 0; i < kElements; ++i) ASSERT_EQ(param[i].bits, expected[i].bits) << i;
  for (std::int64_t i = 0; i < kAveraged; ++i) ASSERT_EQ(ema[i].bits, expected_ema[i].bits) << i;
}

TEST(AdamW, ChangesNothingWhereGradientsAreNotFinite) {
  CpuContext ctx(1);
  std::vector<double> p(3, 1.0), m(3), v(3);
  const std::vector<double> grad = {1, NAN, 2};
  const std::vector<AdamWSpan> spans = {{.offset = 0, .size = 3}};
  const double sum = squares(ctx, grad);
  EXPECT_THROW(adamw_step<double>(ctx, view_of(p), view_of(m), view_of(v), {}, {}, view_of(grad), view_of(spans),
                                  {.square_sum = View<const double, 1>(&sum, {1})}),
               NumericalError);
  EXPECT_EQ(p, std::vector<double>(3, 1.0));
  EXPECT_EQ(m, std::vector<double>(3, 0.0));
}

TEST(AdamW, RefusesBadArguments) {
  CpuContext ctx(1);
  std::vector<double> p(10), m(10), v(10), grad(10), nine(9), ema(4);
  const auto step = [&](std::vector<double>& moments, const std::vector<AdamWSpan>& spans, AdamWOptions o = {}) {
    adamw_step<double>(ctx, view_of(p), view_of(moments), view_of(v), view_of(ema), {}, view_of(grad), view_of(spans), o);
  };
  EXPECT_NO_THROW(step(m, {{.offset = 0, .size = 5}, {.offset = 5, .size = 4, .ema_offset = 0}}));
  EXPECT_THROW(step(nine, {}), CheckError);
  EXPECT_THROW(step(m, {{.offset = 0, .size = 11}}), CheckError);
  EXPECT_THROW(step(m, {{.offset = -1, .size = 3}}), CheckError);
  EXPECT_THROW(step(m, {{.offset = 0, .size = -3}}), CheckError);
  EXPECT_THROW(step(m, {{.offset = 0, .size = 5}, {.offset = 4, .size = 2}}), CheckError) << "overlap";
  EXPECT_THROW(step(m, {{.offset = 5, .size = 2}, {.offset = 0, .size = 2}}), CheckError) << "order";
  EXPECT_THROW(step(m, {{.offset = 0, .size = 4, .ema_offset = 1}}), CheckError) << "average past its end";
  EXPECT_THROW(step(m, {}, {.step = 0}), CheckError);
  EXPECT_THROW(step(m, {}, {.max_norm = 1}), CheckError) << "no sum of squares";
}

}  // namespace
}  // namespace galrec
