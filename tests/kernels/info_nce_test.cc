#include "kernels/info_nce/info_nce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/guarded.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Guarded;
using test::Matrix;
using test::Tolerance;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> unit_rows(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  auto x = test::random_normal<double>(rows * cols, seed);
  for (std::int64_t r = 0; r < rows; ++r) {
    double norm = 0;
    for (std::int64_t c = 0; c < cols; ++c) norm += x[r * cols + c] * x[r * cols + c];
    for (std::int64_t c = 0; c < cols; ++c) x[r * cols + c] = static_cast<float>(x[r * cols + c] / std::sqrt(norm));
  }
  return x;
}

struct Inputs {
  std::int64_t n, c, q;
  double tau = 0.07;
  std::vector<double> anchor, positive, queue;
  std::vector<std::int32_t> queue_ids, own_ids;

  // Ids come from a small range, so that many queue rows carry the own id of some anchor.
  Inputs(std::int64_t rows, std::int64_t cols, std::int64_t queue_rows)
      : n(rows), c(cols), q(queue_rows), anchor(unit_rows(n, c, 1)), positive(unit_rows(n, c, 2)), queue(unit_rows(q, c, 3)),
        queue_ids(test::random_ids(q, 40, 4)), own_ids(test::random_ids(n, 40, 5)) {}
};

struct Results {
  std::vector<double> loss, losses, lse, positive_score, hardest, danchor, dpositive;
};

// The definition in double, element by element.
Results naive(const Inputs& in, double dloss) {
  Results out;
  out.loss = {0};
  out.danchor.assign(in.n * in.c, 0);
  out.dpositive.assign(in.n * in.c, 0);
  const auto dot = [&](const double* a, const double* b) {
    double sum = 0;
    for (std::int64_t c = 0; c < in.c; ++c) sum += a[c] * b[c];
    return sum;
  };
  const double g = dloss / static_cast<double>(in.n) / in.tau;
  for (std::int64_t n = 0; n < in.n; ++n) {
    const double *a = &in.anchor[n * in.c], *p = &in.positive[n * in.c];
    const double s = dot(a, p) / in.tau;
    double hardest = -kInfinity, denominator = std::exp(s);
    for (std::int64_t q = 0; q < in.q; ++q) {
      if (in.queue_ids[q] == in.own_ids[n]) continue;
      const double z = dot(a, &in.queue[q * in.c]) / in.tau;
      hardest = std::max(hardest, z);
      denominator += std::exp(z);
    }
    out.losses.push_back(std::log(denominator) - s);
    out.loss[0] += out.losses.back() / static_cast<double>(in.n);
    out.lse.push_back(std::log(denominator));
    out.positive_score.push_back(s);
    out.hardest.push_back(hardest);
    const double own = std::exp(s) / denominator - 1;
    for (std::int64_t c = 0; c < in.c; ++c) {
      out.danchor[n * in.c + c] += g * own * p[c];
      out.dpositive[n * in.c + c] += g * own * a[c];
    }
    for (std::int64_t q = 0; q < in.q; ++q) {
      if (in.queue_ids[q] == in.own_ids[n]) continue;
      const double share = std::exp(dot(a, &in.queue[q * in.c]) / in.tau) / denominator;
      for (std::int64_t c = 0; c < in.c; ++c) out.danchor[n * in.c + c] += g * share * in.queue[q * in.c + c];
    }
  }
  return out;
}

template <class T>
struct Ran {
  std::vector<T> loss, losses, lse, positive_score, hardest, danchor, dpositive;
};

template <class T>
Ran<T> run(const Inputs& in, int threads, double dloss, Accumulate accumulate = Accumulate::kOverwrite, double before = 0) {
  CpuContext ctx(threads);
  Matrix<T> anchor(in.n, in.c, in.anchor), positive(in.n, in.c, in.positive, 3), queue(in.q, in.c, in.queue, 1);
  Guarded<T> loss(1), losses(in.n), lse(in.n), score(in.n), hardest(in.n);
  info_nce_forward<T>(ctx, loss.vector(), losses.vector(), lse.vector(), score.vector(), hardest.vector(), anchor.view(), positive.view(),
                      queue.view(), view_of(in.queue_ids), view_of(in.own_ids), in.tau);
  const double filler = accumulate == Accumulate::kAdd ? before : std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> initial(in.n * in.c, filler);
  Matrix<T> danchor(in.n, in.c, initial), dpositive(in.n, in.c, initial, 2);
  const std::vector<T> scale = {static_cast<T>(dloss)};
  info_nce_backward<T>(ctx, danchor.view(), dpositive.view(), view_of(scale), anchor.view(), positive.view(), queue.view(), view_of(in.queue_ids),
                       view_of(in.own_ids), lse.vector(), in.tau, accumulate, accumulate);
  return {loss.values(), losses.values(), lse.values(), score.values(), hardest.values(), danchor.values(), dpositive.values()};
}

// Equal where both are -inf (an anchor without negatives), close elsewhere.
template <class T>
void expect_hardest(const std::vector<T>& actual, const std::vector<double>& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isinf(expected[i])) {
      EXPECT_EQ(actual[i], -std::numeric_limits<T>::infinity()) << what << " " << i;
    } else {
      EXPECT_TRUE(std::abs(static_cast<double>(actual[i]) - expected[i]) <= Tolerance<T>::kRelative * 15) << what << " " << i;
    }
  }
}

template <class T>
void expect_equal(const Ran<T>& ran, const Results& expected, const std::string& what) {
  const double tolerance = Tolerance<T>::kRelative;
  test::expect_close(ran.loss, expected.loss, tolerance, what + " loss");
  test::expect_close(ran.losses, expected.losses, tolerance, what + " losses");
  test::expect_close(ran.lse, expected.lse, tolerance, what + " lse");
  test::expect_close(ran.positive_score, expected.positive_score, tolerance, what + " positive_score");
  expect_hardest(ran.hardest, expected.hardest, what + " hardest");
  test::expect_close(ran.danchor, expected.danchor, tolerance, what + " danchor");
  test::expect_close(ran.dpositive, expected.dpositive, tolerance, what + " dpositive");
}

TEST(InfoNce, EqualsTheDefinitionOnHostileShapes) {
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (const std::int64_t q : {sizes[(i + 1) % sizes.size()], std::int64_t{1537}}) {  // 1537: four tiles of the queue
      const Inputs in(sizes[i], sizes[(i + 3) % sizes.size()] % 300 + 1, q);
      const std::string what = fmt::format("{} x {}, queue {}", in.n, in.c, in.q);
      const auto expected = naive(in, 1.5);
      expect_equal(run<double>(in, 2, 1.5), expected, what + " double");
      expect_equal(run<float>(in, 2, 1.5), expected, what + " float");
    }
  }
}

TEST(InfoNce, AddsToGradients) {
  const Inputs in(33, 31, 700);
  auto expected = naive(in, -2);
  for (auto* gradient : {&expected.danchor, &expected.dpositive}) {
    for (double& value : *gradient) value += 0.25;
  }
  expect_equal(run<float>(in, 2, -2, Accumulate::kAdd, 0.25), expected, "float");
  expect_equal(run<double>(in, 2, -2, Accumulate::kAdd, 0.25), expected, "double");
}

TEST(InfoNce, GradientsEqualCentralDifferences) {
  Inputs in(5, 9, 600);
  in.tau = 0.5;
  const auto ran = run<double>(in, 1, 1);
  const auto loss = [&] { return naive(in, 1).loss[0]; };
  const auto kernel_loss = [&] { return run<double>(in, 1, 1).loss[0]; };
  test::expect_gradient(loss, in.anchor, ran.danchor, "danchor");
  test::expect_gradient(loss, in.positive, ran.dpositive, "dpositive");
  test::expect_gradient(kernel_loss, in.anchor, ran.danchor, "danchor (kernel)");
  test::expect_gradient(kernel_loss, in.positive, ran.dpositive, "dpositive (kernel)");
}

// The gradient with respect to a queue row that is masked is zero: moving it changes nothing at all.
TEST(InfoNce, MaskedRowsHaveNoInfluence) {
  Inputs in(31, 33, 513);
  const auto before = run<float>(in, 1, 1);
  const Inputs copy = in;
  for (std::int64_t q = 0; q < in.q; ++q) {
    if (q % 3 != 0) continue;
    in.queue_ids[q] = 1000;  // one anchor's id below
    for (std::int64_t c = 0; c < in.c; ++c) in.queue[q * in.c + c] = in.anchor[c];
  }
  in.own_ids[0] = 1000;
  const auto hidden = run<float>(in, 1, 1);
  for (std::int64_t q = 0; q < in.q; ++q) {
    for (std::int64_t c = 0; c < in.c && q % 3 == 0; ++c) in.queue[q * in.c + c] = 0.5;
  }
  const auto moved = run<float>(in, 1, 1);
  EXPECT_EQ(hidden.losses[0], moved.losses[0]);
  EXPECT_EQ(hidden.hardest[0], moved.hardest[0]);
  for (std::int64_t c = 0; c < in.c; ++c) EXPECT_EQ(hidden.danchor[c], moved.danchor[c]) << c;
  EXPECT_NE(hidden.losses[1], moved.losses[1]) << "the other anchors do see these rows";
  EXPECT_NE(hidden.losses[1], before.losses[1]);
}

template <class T>
void expect_nothing_to_learn(const Inputs& in, const std::string& what) {
  const auto ran = run<T>(in, 2, 1);
  EXPECT_EQ(ran.loss[0], T(0)) << what;
  for (std::int64_t n = 0; n < in.n; ++n) {
    EXPECT_EQ(ran.losses[n], T(0)) << what;
    EXPECT_EQ(ran.lse[n], ran.positive_score[n]) << what;
    EXPECT_EQ(ran.hardest[n], -std::numeric_limits<T>::infinity()) << what;
  }
  for (std::int64_t i = 0; i < in.n * in.c; ++i) {
    ASSERT_EQ(ran.danchor[i], T(0)) << what;
    ASSERT_EQ(ran.dpositive[i], T(0)) << what;
  }
}

TEST(InfoNce, EmptyAndFullyMaskedQueuesGiveZero) {
  expect_nothing_to_learn<float>(Inputs(33, 31, 0), "empty");
  expect_nothing_to_learn<double>(Inputs(33, 31, 0), "empty");
  for (std::int64_t q : {1, 512, 1100}) {
    Inputs in(33, 31, q);
    std::fill(in.queue_ids.begin(), in.queue_ids.end(), 7);
    std::fill(in.own_ids.begin(), in.own_ids.end(), 7);
    expect_nothing_to_learn<float>(in, "masked");
    expect_nothing_to_learn<double>(in, "masked");
  }
}

// A whole tile of masked rows before and after the only negatives.
TEST(InfoNce, MaskedTilesBetweenOthers) {
  Inputs in(3, 31, 1600);
  std::fill(in.queue_ids.begin(), in.queue_ids.end(), 7);
  std::fill(in.own_ids.begin(), in.own_ids.end(), 7);
  for (std::int64_t q = 700; q < 720; ++q) in.queue_ids[q] = 8;
  expect_equal(run<float>(in, 2, 1), naive(in, 1), "float");
  expect_equal(run<double>(in, 2, 1), naive(in, 1), "double");
}

// An anchor that has found its positive: loss and pull are tiny, and must keep their relative accuracy in float.
TEST(InfoNce, SmallLossesKeepTheirAccuracy) {
  Inputs in(31, 64, 512);
  in.positive = in.anchor;
  in.tau = 0.05;
  const auto expected = naive(in, 1);
  ASSERT_LT(expected.loss[0], 1e-2);
  const auto ran = run<float>(in, 1, 1);
  for (std::int64_t n = 0; n < in.n; ++n) {
    EXPECT_TRUE(std::abs(static_cast<double>(ran.losses[n]) - expected.losses[n]) <= 1e-4 * expected.losses[n]) << n;
  }
  EXPECT_LE(test::relative_error(ran.dpositive, expected.dpositive, 1e-30), 2e-5);
}

TEST(InfoNce, SurvivesAColdTemperature) {
  Inputs in(31, 33, 700);
  in.tau = 1e-3;  // scores up to 1000
  const auto ran = run<float>(in, 1, 1);
  for (float loss : ran.losses) EXPECT_TRUE(std::isfinite(loss) && loss >= 0);
  for (float g : ran.danchor) ASSERT_TRUE(std::isfinite(g));
}

template <class T>
void expect_same_for_all_threads(const Inputs& in) {
  const auto one = run<T>(in, 1, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    const auto more = run<T>(in, threads, 1);
    test::expect_same_bits(more.loss, one.loss, "loss");
    test::expect_same_bits(more.losses, one.losses, "losses");
    test::expect_same_bits(more.hardest, one.hardest, "hardest");
    test::expect_same_bits(more.danchor, one.danchor, "danchor");
    test::expect_same_bits(more.dpositive, one.dpositive, "dpositive");
  }
}

TEST(InfoNce, BitsDoNotDependOnThreads) {
  const Inputs in(257, 127, 1100);
  expect_same_for_all_threads<float>(in);
  expect_same_for_all_threads<double>(in);
}

TEST(InfoNce, ThePositiveMayBeConstant) {
  const Inputs in(33, 31, 127);
  const auto expected = run<double>(in, 1, 1);
  CpuContext ctx(1);
  Guarded<double> danchor(in.n * in.c);
  const std::vector<double> one = {1};
  info_nce_backward<double>(ctx, danchor.matrix(in.n, in.c), {}, view_of(one), view_of(in.anchor, in.n, in.c), view_of(in.positive, in.n, in.c),
                            view_of(in.queue, in.q, in.c), view_of(in.queue_ids), view_of(in.own_ids), view_of(expected.lse), in.tau,
                            Accumulate::kOverwrite, Accumulate::kOverwrite);
  test::expect_same_bits(danchor.values(), expected.danchor, "danchor");
}

TEST(InfoNce, NotANumberReachesTheLoss) {
  Inputs in(3, 31, 600);
  in.queue_ids.assign(in.q, 100);
  in.queue[550 * in.c] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(run<float>(in, 1, 1).loss[0]));
  EXPECT_TRUE(std::isnan(run<double>(in, 1, 1).loss[0]));
}

TEST(InfoNce, RefusesBadArguments) {
  const Inputs good(3, 4, 5);
  EXPECT_NO_THROW(run<double>(good, 1, 1));
  const auto refuse = [&](auto change) {
    Inputs in = good;
    change(in);
    EXPECT_THROW(run<double>(in, 1, 1), CheckError);
  };
  refuse([](Inputs& in) { in.tau = 0; });
  refuse([](Inputs& in) { in.tau = -1; });
  refuse([](Inputs& in) { in.tau = std::numeric_limits<double>::quiet_NaN(); });
  refuse([](Inputs& in) { in.queue_ids.pop_back(); });
  refuse([](Inputs& in) { in.own_ids.push_back(1); });
  CpuContext ctx(1);
  std::vector<double> loss(1), three(3), four(4), gradient(12);
  const auto a = view_of(good.anchor, 3, 4), k = view_of(good.queue, 5, 4);
  const auto forward = [&](View<double, 1> losses, View<const double, 2> positive, View<const double, 2> queue) {
    info_nce_forward<double>(ctx, view_of(loss), losses, view_of(three), view_of(three), view_of(three), a, positive, queue,
                             view_of(good.queue_ids), view_of(good.own_ids), 1);
  };
  EXPECT_NO_THROW(forward(view_of(three), a, k));
  EXPECT_THROW(forward(view_of(four), a, k), CheckError);
  EXPECT_THROW(forward(view_of(three), a.slice_rows(0, 2), k), CheckError);
  EXPECT_THROW(forward(view_of(three), a, k.slice_cols(0, 3)), CheckError);
  const auto backward = [&](View<double, 2> danchor, View<double, 2> dpositive) {
    info_nce_backward<double>(ctx, danchor, dpositive, view_of(loss), a, a, k, view_of(good.queue_ids), view_of(good.own_ids), view_of(three), 1,
                              Accumulate::kOverwrite, Accumulate::kOverwrite);
  };
  EXPECT_NO_THROW(backward(view_of(gradient, 3, 4), {}));
  EXPECT_THROW(backward(view_of(gradient, 4, 3), {}), CheckError);
  EXPECT_THROW(backward(view_of(gradient, 3, 4), view_of(gradient, 4, 3)), CheckError);
}

}  // namespace
}  // namespace galrec
