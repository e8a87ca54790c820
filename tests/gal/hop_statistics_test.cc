#include "gal/hop_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/gal/tiny_model.h"

namespace galrec::gal {
namespace {

using autograd::Recording;

TEST(HopStatistics, UniformityOfKnownRows) {
  // Lengths do not matter: directions (1,0), (0,1), (-1,0) have squared distances 2, 2 and 4.
  const std::vector<double> rows{3, 0, 0, 0.5, -2, 0};
  EXPECT_NEAR(uniformity(View<const double, 2>(rows.data(), {3, 2})), std::log((2 * std::exp(-4) + std::exp(-8)) / 3),
              1e-12);
  const std::vector<float> same{1, 2, 2, 4};
  EXPECT_NEAR(uniformity(View<const float, 2>(same.data(), {2, 2})), 0.0, 1e-6) << "collapsed";
}

TEST(HopStatistics, CountsOwnIdsAndNeighbours) {
  test::TinyModel<double> m;
  // The queue holds users 0..8 and items 0..8.
  std::vector<double> rows(9 * 16, 0.25);
  Keys<double> all;
  for (auto& r : all.rows) r = View<const double, 2>(rows.data(), {9, 16});
  const std::vector<std::int32_t> ids{0, 1, 2, 3, 4, 5, 6, 7, 8};
  m.queues.set_state(all, ids, ids, 0, 6);
  const auto step = m.forward({}, Recording::kOff);
  const auto s = hop_statistics<double>(step.embeddings, m.queues, m.batch, m.builder.sampler());

  double own = 0, others = 0, near = 0;
  for (const auto user : m.batch.user) {
    for (std::int32_t v = 0; v < 6; ++v) {
      const auto a = m.split.train(user), b = m.split.train(v);
      if (v == user)
        ++own;
      else {
        ++others;
        near += std::find_first_of(a.begin(), a.end(), b.begin(), b.end()) != a.end();
      }
    }
  }
  EXPECT_NEAR(s.own_id_rate, own / (own + others), 1e-12);
  EXPECT_NEAR(s.user_neighbour_rate, near / others, 1e-12);
  EXPECT_NEAR(s.queue_fill, 6.0 / 9, 1e-12);

  others = near = 0;
  for (const auto item : m.batch.item) {
    for (std::int32_t j = 0; j < 6; ++j) {
      if (j == item) continue;
      ++others;
      for (data::UserId u = 0; u < 20; ++u) {
        const auto t = m.split.train(u);
        if (std::find(t.begin(), t.end(), item) != t.end() && std::find(t.begin(), t.end(), j) != t.end()) {
          ++near;
          break;
        }
      }
    }
  }
  EXPECT_NEAR(s.item_neighbour_rate, near / others, 1e-12);
  EXPECT_GT(near, 0);
}

TEST(HopStatistics, AlignmentIsTheCosineOfThePairs) {
  test::TinyModel<double> m;
  const auto step = m.forward({.tau = 0.2}, Recording::kOff);
  const auto s = hop_statistics<double>(step.embeddings, m.queues, m.batch, m.builder.sampler());
  for (std::size_t k = 0; k < kTerms; ++k) {
    double mean = 0;
    for (std::int64_t b = 0; b < 5; ++b) mean += 0.2 * step.rows[k].positive_score[b] / 5;
    EXPECT_NEAR(s.alignment[k], mean, 1e-10) << term_name(static_cast<Term>(k));
  }
  for (const double u : s.uniformity) EXPECT_TRUE(u < 0 && u > -4) << u;
}

}  // namespace
}  // namespace galrec::gal
