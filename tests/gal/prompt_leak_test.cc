// No prompt shows what is to be predicted: over every training prefix of a whole data set, and with violations planted
// to show that the checker sees them.

#include <gtest/gtest.h>

#include "gal/batch_builder.h"
#include "tests/gal/leak_checker.h"
#include "tests/gal/world.h"
#include "tests/support/real_data.h"

namespace galrec::gal {
namespace {

using data::Hop;

constexpr std::int32_t kEpochs = 2;

/// Checks every prefix of every user under several epochs' draws; returns how many prompts it saw.
std::int64_t check_all(const data::Split& split, std::string& problem) {
  CpuContext ctx(1);
  const auto& dataset = split.dataset();
  const auto external = test::random_external(split, 2);
  const data::IdTokens ids(test::kTextRows, dataset.num_users(), dataset.num_items());
  const auto samples = test::all_prefixes<TrainSample>(split);
  test::LeakChecker checker(split);
  BatchBuilder builder(ctx, split, test::default_templates(), external, {}, 17);
  HopBatch batch;
  std::int64_t prompts = 0;
  for (std::uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    for (std::size_t first = 0; first < samples.size(); first += 512) {
      const auto part = std::span(samples).subspan(first, std::min<std::size_t>(512, samples.size() - first));
      builder.build(batch, part, HopSet::kAll, epoch);
      const auto tokens = joint_tokens(batch, ids);
      for (std::size_t s = 0; s < part.size(); ++s) {
        problem = checker.check(batch, tokens, ids, static_cast<std::int32_t>(s), part[s]);
        if (!problem.empty()) return prompts;
        prompts += static_cast<std::int64_t>(data::kHops);
      }
    }
  }
  return prompts;
}

TEST(PromptLeak, NoneInSmallDenseGraphs) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const auto dataset = test::random_dataset(120, 25, 14, seed);
    const auto split = data::Split::leave_one_out(dataset);
    std::string problem;
    EXPECT_GT(check_all(split, problem), 1000);
    EXPECT_EQ(problem, "");
  }
}

TEST(PromptLeak, NoneInAllOfBeauty) {
  GALREC_REQUIRE_DATA(test::real_data("beauty"));
  const auto dataset = data::Dataset::load(test::real_data("beauty"));
  const auto split = data::Split::leave_one_out(dataset);
  std::string problem;
  EXPECT_EQ(check_all(split, problem), std::int64_t{131413} * 6 * kEpochs);
  EXPECT_EQ(problem, "");
}

/// A finished batch whose sample `index` is then damaged.
struct Planted {
  data::Dataset dataset = test::random_dataset(120, 60, 14, 6);
  data::Split split = data::Split::leave_one_out(dataset);
  data::IdTokens ids{test::kTextRows, 120, 60};
  std::vector<TrainSample> samples = test::all_prefixes<TrainSample>(split);
  HopBatch batch;
  std::vector<std::int32_t> tokens;
  std::int32_t index = 5;

  explicit Planted(const SamplingOptions& options = {}) {
    CpuContext ctx(1);
    const auto external = test::random_external(split, 2);
    BatchBuilder builder(ctx, split, test::default_templates(), external, options, 3);
    builder.build(batch, samples, HopSet::kAll, 0);
    tokens = joint_tokens(batch, ids);
  }
  TrainSample sample() const { return samples[static_cast<std::size_t>(index)]; }
  data::ItemId target() const { return split.train(sample().user)[static_cast<std::size_t>(sample().cut)]; }
  /// Replaces the last id token of a prompt.
  void plant(Hop hop, std::int32_t token) {
    const auto s = static_cast<std::size_t>(batch.segment(index, hop));
    for (auto n = batch.cu[s + 1]; n-- > batch.cu[s];) {
      if (ids.is_text(tokens[static_cast<std::size_t>(n)])) continue;
      tokens[static_cast<std::size_t>(n)] = token;
      return;
    }
    FAIL() << "no id token to replace";
  }
  std::string check() {
    test::LeakChecker checker(split);
    return checker.check(batch, tokens, ids, index, sample());
  }
};

TEST(PromptLeak, TheCheckerSeesAPlantedTarget) {
  Planted p;
  EXPECT_EQ(p.check(), "");
  p.plant(Hop::kU1, p.ids.item_token(p.target()));
  EXPECT_NE(p.check().find("names the target"), std::string::npos) << p.check();
}

TEST(PromptLeak, TheCheckerSeesALaterItem) {
  Planted p;
  while (p.split.train(p.sample().user).size() < static_cast<std::size_t>(p.sample().cut) + 2) ++p.index;
  p.plant(Hop::kU2, p.ids.item_token(p.split.train(p.sample().user)[static_cast<std::size_t>(p.sample().cut) + 1]));
  EXPECT_NE(p.check().find("outside the history"), std::string::npos) << p.check();
}

TEST(PromptLeak, TheCheckerSeesAUserReachedThroughTheTargetAlone) {
  Planted p;
  bool found = false;
  for (; !found && p.index < p.batch.samples; ++p.index) {
    const auto s = p.sample();
    const auto history = p.split.train(s.user).first(static_cast<std::size_t>(s.cut));
    for (data::UserId u = 0; u < 120 && !found; ++u) {
      const auto items = p.split.train(u);
      const bool has_target = std::find(items.begin(), items.end(), p.target()) != items.end();
      const bool shares = std::find_first_of(items.begin(), items.end(), history.begin(), history.end()) != items.end();
      if (u == s.user || !has_target || shares) continue;
      p.plant(Hop::kU2, p.ids.user_token(u));
      EXPECT_NE(p.check().find("shares no history item"), std::string::npos) << p.check();
      found = true;
    }
  }
  EXPECT_TRUE(found);
}

TEST(PromptLeak, TheCheckerSeesTheUserBesideItsItem) {
  Planted p;
  p.plant(Hop::kI1, p.ids.user_token(p.sample().user));
  EXPECT_NE(p.check().find("own i0"), std::string::npos) << p.check();
}

TEST(PromptLeak, TheCheckerSeesAnItemFromNowhere) {
  Planted p;
  const auto item_users = p.batch.prompt(p.index, Hop::kI2);
  ASSERT_FALSE(item_users.empty());
  std::vector<bool> near(60, false);
  const auto i0 = p.batch.item[static_cast<std::size_t>(p.index)];
  near[static_cast<std::size_t>(i0)] = true;
  for (data::UserId u = 0; u < 120; ++u) {
    const auto items = p.split.train(u);
    if (std::find(items.begin(), items.end(), i0) == items.end()) continue;
    for (const auto i : items) near[static_cast<std::size_t>(i)] = true;
  }
  const auto far = std::find(near.begin(), near.end(), false);
  ASSERT_NE(far, near.end());
  p.plant(Hop::kI2, p.ids.item_token(static_cast<std::int32_t>(far - near.begin())));
  EXPECT_NE(p.check().find("no listed neighbour"), std::string::npos) << p.check();
}

TEST(PromptLeak, TheCheckerSeesTheFullVector) {
  Planted p({.user_vector = UserVector::kStatic});
  EXPECT_NE(p.check().find("full vector"), std::string::npos) << p.check();
}

}  // namespace
}  // namespace galrec::gal
