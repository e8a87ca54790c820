// InfoNCE on CUDA (on a GPU or on the executor) against the CPU's double instance, on inputs that were rounded to the type first.

#include "kernels/info_nce/info_nce.h"

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

std::vector<double> unit_rows(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  auto x = test::random_normal<double>(rows * cols, seed);
  for (std::int64_t r = 0; r < rows; ++r) {
    double norm = 0;
    for (std::int64_t c = 0; c < cols; ++c) norm += x[r * cols + c] * x[r * cols + c];
    for (std::int64_t c = 0; c < cols; ++c) x[r * cols + c] /= std::sqrt(norm);
  }
  return x;
}

struct Inputs {
  std::int64_t n, c, q;
  std::int64_t gap = 0;  // between rows: a multiple of 8 keeps them aligned where c is one, 3 does not
  double tau = 0.07, dloss = 1.5;
  bool positive_learns = true;
  Accumulate accumulate = Accumulate::kOverwrite;
  std::vector<double> anchor, positive, queue, before;
  std::vector<std::int32_t> queue_ids, own_ids;

  // Ids come from a small range, so that many queue rows carry the own id of some anchor.
  template <class T>
  static Inputs make(std::int64_t n, std::int64_t c, std::int64_t q, std::int64_t gap = 0) {
    Inputs in;
    in.n = n, in.c = c, in.q = q, in.gap = gap;
    in.anchor = test::quantized<T>(unit_rows(n, c, 1));
    in.positive = test::quantized<T>(unit_rows(n, c, 2));
    in.queue = test::quantized<T>(unit_rows(q, c, 3));
    in.before.assign(static_cast<std::size_t>(n * c), 0.25);
    in.queue_ids = test::random_ids(q, 40, 4);
    in.own_ids = test::random_ids(n, 40, 5);
    return in;
  }
};

struct Results {
  std::vector<double> loss, losses, lse, positive_score, hardest, danchor, dpositive;
};

/// T on a backend; double on the CPU is the oracle. `lse` stands in for the forward pass's own in backward.
template <class T, class Context>
Results run(Context& ctx, const Inputs& in) {
  Staged<T> anchor(ctx, in.n, in.c, in.anchor, in.gap), positive(ctx, in.n, in.c, in.positive, in.gap);
  Staged<T> queue(ctx, in.q, in.c, in.queue, in.gap);
  Staged<Acc<T>> loss(ctx, 1, 1), losses(ctx, 1, in.n), lse(ctx, 1, in.n), score(ctx, 1, in.n), hardest(ctx, 1, in.n);
  Staged<Acc<T>> dloss(ctx, 1, 1, std::vector<double>{in.dloss});
  Staged<std::int32_t> queue_ids(ctx, 1, in.q, in.queue_ids), own_ids(ctx, 1, in.n, in.own_ids);
  info_nce_forward<T>(ctx, loss.vector(), losses.vector(), lse.vector(), score.vector(), hardest.vector(), anchor.view(),
                      positive.view(), queue.view(), queue_ids.vector(), own_ids.vector(), in.tau);
  const auto nothing = std::vector<double>(in.before.size(), std::numeric_limits<double>::quiet_NaN());
  const auto& before = in.accumulate == Accumulate::kAdd ? in.before : nothing;
  Staged<T> danchor(ctx, in.n, in.c, before, in.gap), dpositive(ctx, in.n, in.c, before, in.gap);
  info_nce_backward<T>(ctx, danchor.view(), in.positive_learns ? dpositive.view() : View<T, 2>(), dloss.vector(), anchor.view(),
                       positive.view(), queue.view(), queue_ids.vector(), own_ids.vector(), lse.vector(), in.tau, in.accumulate,
                       in.accumulate);
  ctx.synchronize();
  return {loss.doubles(),    losses.doubles(),  lse.doubles(),      score.doubles(),
          hardest.doubles(), danchor.doubles(), dpositive.doubles()};
}

Results oracle(const Inputs& in) {
  CpuContext ctx(2);
  return run<double>(ctx, in);
}

template <class T>
void expect_equal(const Results& ran, const Results& expected, const std::string& what) {
  constexpr double kFloat = test::Tolerance<float>::kRelative;  // statistics are fp32 for either type
  test::expect_close(ran.loss, expected.loss, kFloat, what + " loss");
  test::expect_close(ran.losses, expected.losses, kFloat, what + " losses");
  test::expect_close(ran.lse, expected.lse, kFloat, what + " lse");
  test::expect_close(ran.positive_score, expected.positive_score, kFloat, what + " positive_score");
  for (std::size_t i = 0; i < expected.hardest.size(); ++i) {
    if (std::isinf(expected.hardest[i]))
      EXPECT_EQ(ran.hardest[i], expected.hardest[i]) << what << " " << i;
    else
      EXPECT_TRUE(std::abs(ran.hardest[i] - expected.hardest[i]) <= kFloat * 15) << what << " " << i;
  }
  test::expect_close(ran.danchor, expected.danchor, test::Tolerance<T>::kRelative, what + " danchor");
  test::expect_close(ran.dpositive, expected.dpositive, test::Tolerance<T>::kRelative, what + " dpositive");
}

template <class B>
class CudaInfoNce : public testing::Test {};
TYPED_TEST_SUITE(CudaInfoNce, test::CudaBackends, test::BackendNames);

TYPED_TEST(CudaInfoNce, EqualsTheOracleOnHostileShapes) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::int64_t n = sizes[i] % 300, c = sizes[(i + 3) % sizes.size()] % 300 + 1;
    for (const std::int64_t q : {sizes[(i + 1) % sizes.size()], std::int64_t{1000}}) {
      const auto in = Inputs::make<T>(n, c, q, i % 2 == 0 ? 3 : 8);
      expect_equal<T>(run<T>(ctx, in), oracle(in), fmt::format("{} x {}, queue {}", n, c, q));
    }
  }
}

// Every width of the column kernel, with aligned rows; queues of one key, of a split and a bit, of many splits.
TYPED_TEST(CudaInfoNce, EqualsTheOracleAtAllWidths) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t c : {64, 128, 192, 392, 512, 600, 768, 1024}) {
    for (const std::int64_t q : {1, 333}) {
      const auto in = Inputs::make<T>(c == 128 ? 70 : 35, c, q, c == 512 ? 0 : 8);
      expect_equal<T>(run<T>(ctx, in), oracle(in), fmt::format("{} columns, queue {}", c, q));
    }
  }
  const auto in = Inputs::make<T>(33, 40, 5000, 8);
  expect_equal<T>(run<T>(ctx, in), oracle(in), "5000 rows");
}

#if !defined(GALREC_SIMT_INSTRUMENT)  // long under the race detector
// The probabilities of fp32 go through scratch in parts of 64 MB: here 31 splits of the queue, and one.
TEST(CudaInfoNceLong, LaterPartsOfALongQueue) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  auto in = Inputs::make<float>(4200, 1, 4096);
  in.anchor = test::quantized<float>(test::random_normal<double>(in.n, 6));  // numbers, where a unit row would be a sign
  in.queue = test::quantized<float>(test::random_normal<double>(in.q, 7));
  in.tau = 1;
  expect_equal<float>(run<float>(ctx, in), oracle(in), "4200 anchors");
}
#endif

TYPED_TEST(CudaInfoNce, AddsToGradientsAndLeavesThePositiveAlone) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(33, 32, 300, 8);
  in.accumulate = Accumulate::kAdd;
  in.dloss = -2;
  const auto both = run<T>(ctx, in);
  expect_equal<T>(both, oracle(in), "added");
  in.positive_learns = false;
  const auto one = run<T>(ctx, in);
  test::expect_same_bits(one.danchor, both.danchor, "danchor");
  EXPECT_EQ(one.dpositive, in.before);
}

TYPED_TEST(CudaInfoNce, MaskedRowsHaveNoInfluence) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(31, 33, 257);
  for (std::int64_t q = 0; q < in.q; q += 3) {
    in.queue_ids[q] = 1000;
    for (std::int64_t c = 0; c < in.c; ++c) in.queue[q * in.c + c] = in.anchor[c];
  }
  in.own_ids[0] = 1000;
  const auto hidden = run<T>(ctx, in);
  for (std::int64_t q = 0; q < in.q; q += 3) std::fill_n(in.queue.begin() + q * in.c, in.c, 0.5);
  const auto moved = run<T>(ctx, in);
  EXPECT_EQ(hidden.losses[0], moved.losses[0]);
  EXPECT_EQ(hidden.hardest[0], moved.hardest[0]);
  for (std::int64_t c = 0; c < in.c; ++c) EXPECT_EQ(hidden.danchor[c], moved.danchor[c]) << c;
  EXPECT_NE(hidden.losses[1], moved.losses[1]) << "the other anchors do see these rows";
}

TYPED_TEST(CudaInfoNce, EmptyAndFullyMaskedQueuesGiveZero) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t q : {0, 1, 400}) {
    auto in = Inputs::make<T>(33, 31, q);
    std::fill(in.queue_ids.begin(), in.queue_ids.end(), 7);
    std::fill(in.own_ids.begin(), in.own_ids.end(), 7);
    const auto ran = run<T>(ctx, in);
    EXPECT_EQ(ran.loss[0], 0);
    EXPECT_EQ(ran.lse, ran.positive_score);
    for (const double x : ran.losses) ASSERT_EQ(x, 0) << q;
    for (const double x : ran.hardest) ASSERT_EQ(x, -std::numeric_limits<double>::infinity()) << q;
    for (const double x : ran.danchor) ASSERT_EQ(x, 0) << q;
    for (const double x : ran.dpositive) ASSERT_EQ(x, 0) << q;
  }
}

// Whole tiles of masked rows before and after the only negatives.
TYPED_TEST(CudaInfoNce, MaskedTilesBetweenOthers) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(3, 31, 1600);
  std::fill(in.queue_ids.begin(), in.queue_ids.end(), 7);
  std::fill(in.own_ids.begin(), in.own_ids.end(), 7);
  for (std::int64_t q = 700; q < 720; ++q) in.queue_ids[q] = 8;
  expect_equal<T>(run<T>(ctx, in), oracle(in), "masked");
}

// An anchor that has found its positive: loss and pull are tiny, and must keep their relative accuracy.
TYPED_TEST(CudaInfoNce, SmallLossesKeepTheirAccuracy) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(31, 64, 512);
  in.positive = in.anchor;
  in.tau = 0.05;
  const auto expected = oracle(in), ran = run<T>(ctx, in);
  ASSERT_LT(expected.loss[0], 1e-2);
  for (std::int64_t n = 0; n < in.n; ++n) {
    EXPECT_TRUE(std::abs(ran.losses[n] - expected.losses[n]) <= 1e-4 * expected.losses[n]) << n;
  }
  EXPECT_LE(test::relative_error(ran.dpositive, expected.dpositive, 1e-30), test::Tolerance<T>::kRelative);
}

TYPED_TEST(CudaInfoNce, SurvivesAColdTemperature) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(31, 33, 300);
  in.tau = 1e-3;  // scores up to 1000
  const auto ran = run<T>(ctx, in);
  for (const double loss : ran.losses) EXPECT_TRUE(std::isfinite(loss) && loss >= 0);
  for (const double g : ran.danchor) ASSERT_TRUE(std::isfinite(g));
}

TYPED_TEST(CudaInfoNce, NotANumberReachesTheLoss) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  auto in = Inputs::make<T>(3, 31, 600);
  in.queue_ids.assign(in.q, 100);
  in.queue[550 * in.c] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(run<T>(ctx, in).loss[0]));
}

TYPED_TEST(CudaInfoNce, BitsDoNotDependOnTheSchedule) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto in = Inputs::make<T>(70, 130, 700, 6);
  std::optional<Results> first;
  test::for_each_schedule([&](const std::string& schedule) {
    const auto ran = run<T>(ctx, in);
    if (!first) first = ran;
    test::expect_same_bits(ran.loss, first->loss, "loss, " + schedule);
    test::expect_same_bits(ran.losses, first->losses, "losses, " + schedule);
    test::expect_same_bits(ran.danchor, first->danchor, "danchor, " + schedule);
    test::expect_same_bits(ran.dpositive, first->dpositive, "dpositive, " + schedule);
  });
}

TYPED_TEST(CudaInfoNce, RefusesBadArguments) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto good = Inputs::make<T>(3, 4, 5);
  EXPECT_NO_THROW(run<T>(ctx, good));
  const auto refuse = [&](auto change) {
    Inputs in = good;
    change(in);
    EXPECT_THROW(run<T>(ctx, in), CheckError);
  };
  refuse([](Inputs& in) { in.tau = 0; });
  refuse([](Inputs& in) { in.tau = std::numeric_limits<double>::quiet_NaN(); });
  Staged<T> rows(ctx, 3, 4), queue(ctx, 5, 4);
  Staged<float> loss(ctx, 1, 1), three(ctx, 1, 3), four(ctx, 1, 4);
  Staged<std::int32_t> queue_ids(ctx, 1, 5, good.queue_ids), own_ids(ctx, 1, 3, good.own_ids);
  const auto forward = [&](View<float, 1> losses, View<const T, 2> positive, View<const T, 2> k, View<const std::int32_t, 1> ids) {
    info_nce_forward<T>(ctx, loss.vector(), losses, three.vector(), three.vector(), three.vector(), rows.view(), positive, k,
                        queue_ids.vector(), ids, 1);
  };
  EXPECT_NO_THROW(forward(three.vector(), rows.view(), queue.view(), own_ids.vector()));
  EXPECT_THROW(forward(four.vector(), rows.view(), queue.view(), own_ids.vector()), CheckError);
  EXPECT_THROW(forward(three.vector(), rows.view().slice_rows(0, 2), queue.view(), own_ids.vector()), CheckError);
  EXPECT_THROW(forward(three.vector(), rows.view(), queue.view().slice_cols(0, 3), own_ids.vector()), CheckError);
  EXPECT_THROW(forward(three.vector(), rows.view(), queue.view(), queue_ids.vector()), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
