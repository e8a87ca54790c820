#include "gal/contrastive_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/finite_difference.h"
#include "tests/support/random.h"

namespace galrec::gal {
namespace {

using autograd::Recording;
using autograd::Tape;
using data::Hop;
using Vector = std::vector<double>;

constexpr std::int64_t kBatch = 4, kDim = 5, kRows = 7;

struct Fixture {
  std::vector<std::int32_t> users{3, 1, 2, 3}, items{0, 5, 2, 1};
  std::vector<std::int32_t> queue_users{1, 9, 3, 8, 2, 7, 6}, queue_items{5, 1, 9, 0, 8, 7, 6};
  Vector pooled = test::random_normal<double>(6 * kBatch * kDim, 1);
  std::array<Vector, kQueues> queue_rows, key_rows;
  NegativeQueues<double> queues{kRows, kDim};
  Keys<double> keys;
  CpuContext ctx{2};
  Tape<double> tape{Device(ctx)};
  LossOptions options{.tau = 0.3, .l1 = 0.5, .l2 = 0.7, .l3 = 1.1};

  Fixture() {
    Keys<double> rows;
    for (std::size_t q = 0; q < kQueues; ++q) {
      queue_rows[q] = unit(test::random_normal<double>(kRows * kDim, 10 + q));
      key_rows[q] = unit(test::random_normal<double>(kBatch * kDim, 20 + q));
      rows.rows[q] = View<const double, 2>(queue_rows[q].data(), {kRows, kDim});
      keys.rows[q] = View<const double, 2>(key_rows[q].data(), {kBatch, kDim});
    }
    queues.set_state(rows, queue_users, queue_items, 0, kRows);
  }
  static Vector unit(Vector v) {
    for (std::size_t r = 0; r < v.size(); r += kDim) {
      double norm = 0;
      for (std::size_t c = 0; c < kDim; ++c) norm += v[r + c] * v[r + c];
      for (std::size_t c = 0; c < kDim; ++c) v[r + c] /= std::sqrt(norm);
    }
    return v;
  }
  Vector view(Hop hop) const {
    Vector out;
    for (std::int64_t b = 0; b < kBatch; ++b) {
      const auto first = pooled.begin() + (6 * b + static_cast<int>(hop)) * kDim;
      out.insert(out.end(), first, first + kDim);
    }
    return options.similarity == Similarity::kCosine ? unit(out) : out;
  }
  /// The definition: -log of the positive's share, over the queue without own ids.
  double nce(const Vector& anchor, const Vector& positive, Queue q) const {
    const auto& own = is_user_queue(q) ? users : items;
    const auto& ids = is_user_queue(q) ? queue_users : queue_items;
    const auto dot = [&](const Vector& a, std::int64_t i, const Vector& b, std::int64_t j) {
      double s = 0;
      for (std::int64_t c = 0; c < kDim; ++c)
        s += a[static_cast<std::size_t>(i * kDim + c)] * b[static_cast<std::size_t>(j * kDim + c)];
      return std::exp(s / options.tau);
    };
    double sum = 0;
    for (std::int64_t b = 0; b < kBatch; ++b) {
      const double p = dot(anchor, b, positive, b);
      double all = p;
      for (std::int64_t r = 0; r < kRows; ++r) {
        if (ids[static_cast<std::size_t>(r)] != own[static_cast<std::size_t>(b)])
          all += dot(anchor, b, queue_rows[static_cast<std::size_t>(q)], r);
      }
      if (options.in_batch == InBatch::kOn) {
        for (std::int64_t o = 0; o < kBatch; ++o) {
          if (own[static_cast<std::size_t>(o)] != own[static_cast<std::size_t>(b)]) all += dot(anchor, b, positive, o);
        }
      }
      sum -= std::log(p / all);
    }
    return sum / kBatch;
  }
  double term(Hop anchor, Hop positive, Queue q) const {
    return nce(view(anchor),
               options.positive == Positive::kMomentum ? key_rows[static_cast<std::size_t>(q)] : view(positive), q);
  }
  std::array<double, kTerms> equations() const {
    const double l1u = term(Hop::kU2, Hop::kU0, Queue::kU0), l1i = term(Hop::kI2, Hop::kI0, Queue::kI0);
    const double back_u = term(Hop::kU0, Hop::kU2, Queue::kU2), back_i = term(Hop::kI0, Hop::kI2, Queue::kI2);
    const double share = options.l1_anchor == L1Anchor::kHop2 ? 1 : options.l1_anchor == L1Anchor::kHop0 ? 0 : 0.5;
    return {share * l1u + (1 - share) * back_u,   share * l1i + (1 - share) * back_i,
            term(Hop::kI1, Hop::kU2, Queue::kU2), term(Hop::kU1, Hop::kI2, Queue::kI2),
            term(Hop::kI1, Hop::kU0, Queue::kU0), term(Hop::kU1, Hop::kI0, Queue::kI0)};
  }
  ContrastiveResult<double> run() {
    tape.reset(Recording::kOn);
    leaf = tape.leaf(view_of(pooled, 6 * kBatch, kDim));
    return contrastive_loss<double>(tape, leaf, queues, users, items, options, &keys);
  }
  autograd::Variable<double> leaf;
};

void expect_equations(Fixture& f, const std::string& what) {
  const auto result = f.run();
  const auto expected = f.equations();
  const double reduce = f.options.reduction == Reduction::kMean ? 0.5 : 1;
  double sum = 0;
  for (std::size_t k = 0; k < kTerms; ++k) {
    const double weight = reduce * std::array{f.options.l1, f.options.l2, f.options.l3}[k / 2];
    if (weight == 0) {
      EXPECT_FALSE(result.nce[k]);
      continue;
    }
    EXPECT_NEAR(result.nce[k].value()(0, 0), expected[k], 1e-12) << what << ": " << term_name(static_cast<Term>(k));
    sum += weight * expected[k];
  }
  EXPECT_NEAR(result.loss.value()(0, 0), sum, 1e-12) << what;
}

TEST(ContrastiveLoss, IsTheEquationsUnderEveryChoice) {
  Fixture f;
  expect_equations(f, "defaults");
  const LossOptions defaults = f.options;
  const auto with = [&](const char* what, auto change) {
    f.options = defaults;
    change(f.options);
    expect_equations(f, what);
  };
  with("l1.anchor=hop0", [](LossOptions& o) { o.l1_anchor = L1Anchor::kHop0; });
  with("l1.anchor=symmetric", [](LossOptions& o) { o.l1_anchor = L1Anchor::kSymmetric; });
  with("loss.positive=momentum", [](LossOptions& o) { o.positive = Positive::kMomentum; });
  with("loss.similarity=dot", [](LossOptions& o) { o.similarity = Similarity::kDot; });
  with("loss.reduction=mean", [](LossOptions& o) { o.reduction = Reduction::kMean; });
  with("queue.in_batch=on", [](LossOptions& o) { o.in_batch = InBatch::kOn; });
  with("L3 alone", [](LossOptions& o) { o.l1 = o.l2 = 0; });
}

TEST(ContrastiveLoss, GradientsAreThoseOfTheEquations) {
  for (const bool symmetric : {false, true}) {
    Fixture f;
    if (symmetric) f.options.l1_anchor = L1Anchor::kSymmetric;
    const auto loss = f.run().loss;
    f.tape.backward(loss);
    const auto g = f.tape.gradient(f.leaf);
    const Vector gradient(g.data, g.data + g.size());
    const auto objective = [&] {
      const auto e = f.equations();
      return 0.5 * (e[0] + e[1]) + 0.7 * (e[2] + e[3]) + 1.1 * (e[4] + e[5]);
    };
    test::expect_gradient(objective, f.pooled, gradient, "pooled");
  }
}

TEST(ContrastiveLoss, MomentumPositivesGetNoGradientButAnchorsDo) {
  Fixture f;
  f.options.positive = Positive::kMomentum;
  f.options.l2 = f.options.l3 = 0;
  f.tape.backward(f.run().loss);
  const auto g = f.tape.gradient(f.leaf);
  for (std::int64_t b = 0; b < kBatch; ++b) {
    EXPECT_EQ(g(6 * b + static_cast<int>(Hop::kU0), 0), 0.0);
    EXPECT_NE(g(6 * b + static_cast<int>(Hop::kU2), 0), 0.0);
  }
  test::expect_error<CheckError>(
      [&] { contrastive_loss<double>(f.tape, f.leaf, f.queues, f.users, f.items, f.options, nullptr); }, {"momentum"});
}

TEST(ContrastiveLoss, AnEmptyQueueTeachesNothing) {
  Fixture f;
  const NegativeQueues<double> empty(kRows, kDim);
  f.tape.reset(Recording::kOn);
  f.leaf = f.tape.leaf(view_of(f.pooled, 6 * kBatch, kDim));
  const auto result = contrastive_loss<double>(f.tape, f.leaf, empty, f.users, f.items, f.options, nullptr);
  EXPECT_NEAR(result.loss.value()(0, 0), 0.0, 1e-15);
  EXPECT_EQ(result.rows[0].hardest[0], -std::numeric_limits<double>::infinity());
}

TEST(ContrastiveLoss, HandsOutRowsForStatisticsAndQueues) {
  Fixture f;
  const auto result = f.run();
  const auto u2 = f.view(Hop::kU2);
  for (std::int64_t b = 0; b < kBatch; ++b) {
    for (std::int64_t c = 0; c < kDim; ++c)
      EXPECT_NEAR(result.query_keys[Queue::kU2](b, c), u2[static_cast<std::size_t>(b * kDim + c)], 1e-15);
  }
  double mean = 0;
  for (std::int64_t b = 0; b < kBatch; ++b) mean += result.rows[3].losses[b] / kBatch;
  EXPECT_NEAR(mean, result.nce[3].value()(0, 0), 1e-14);
}

}  // namespace
}  // namespace galrec::gal
