#include "gal/batch_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/gal/world.h"
#include "tests/support/expect_error.h"

namespace galrec::gal {
namespace {

using data::Hop;
using Ids = std::vector<std::int32_t>;

struct World {
  data::Dataset dataset = test::random_dataset(50, 30, 12, 4);
  data::Split split = data::Split::leave_one_out(dataset);
  ExternalEmbeddings external = test::random_external(split, 6);
  data::IdTokens ids{test::kTextRows, 50, 30};
  CpuContext ctx{2};

  BatchBuilder builder(const SamplingOptions& options = {}, std::uint64_t seed = 1) {
    return BatchBuilder(ctx, split, test::default_templates(), external, options, seed);
  }
  Ids joint(const HopBatch& b, std::int32_t sample, Hop hop) const {
    const auto all = joint_tokens(b, ids);
    const auto s = static_cast<std::size_t>(b.segment(sample, hop));
    return Ids(all.begin() + b.cu[s], all.begin() + b.cu[s + 1]);
  }
  /// Tokens of the items, in order of appearance.
  Ids items(const HopBatch& b, std::int32_t sample, Hop hop) const {
    Ids out;
    for (const auto t : joint(b, sample, hop)) {
      if (ids.is_item(t)) out.push_back(ids.item_of(t));
    }
    return out;
  }
  Ids users(const HopBatch& b, std::int32_t sample, Hop hop) const {
    Ids out;
    for (const auto t : joint(b, sample, hop)) {
      if (ids.is_user(t)) out.push_back(ids.user_of(t));
    }
    return out;
  }
};

TrainSample longest(const data::Split& split) {
  TrainSample best{0, 1};
  std::size_t length = 0;
  for (data::UserId u = 0; u < split.dataset().num_users(); ++u) {
    if (split.train(u).size() > length) {
      length = split.train(u).size();
      best = {u, static_cast<std::int32_t>(length) - 1};
    }
  }
  return best;
}

TEST(BatchBuilder, PromptsHoldWhatTheTemplatesSay) {
  World w;
  auto builder = w.builder();
  const auto samples = test::all_prefixes<TrainSample>(w.split);
  HopBatch b;
  builder.build(b, samples, HopSet::kAll, 3);
  ASSERT_EQ(b.samples, static_cast<std::int32_t>(samples.size()));
  ASSERT_EQ(b.cu.size(), samples.size() * 6 + 1);
  for (std::int32_t s = 0; s < b.samples; ++s) {
    const auto [user, cut] = samples[static_cast<std::size_t>(s)];
    const auto train = w.split.train(user);
    const Ids history(train.begin(), train.begin() + cut);
    EXPECT_EQ(w.users(b, s, Hop::kU0), (Ids{user}));
    EXPECT_EQ(w.users(b, s, Hop::kU1), (Ids{user}));
    EXPECT_EQ(w.items(b, s, Hop::kU1), history);
    EXPECT_EQ(w.items(b, s, Hop::kU2), history);
    EXPECT_EQ(w.users(b, s, Hop::kU2).front(), user);
    EXPECT_EQ(b.target[static_cast<std::size_t>(s)], train[static_cast<std::size_t>(cut)]);
    EXPECT_EQ(b.user[static_cast<std::size_t>(s)], user);
    const auto item = b.item[static_cast<std::size_t>(s)];
    EXPECT_NE(std::find(history.begin(), history.end(), item), history.end());
    EXPECT_EQ(w.items(b, s, Hop::kI0), (Ids{item}));
    EXPECT_EQ(w.items(b, s, Hop::kI1), (Ids{item}));
    EXPECT_EQ(w.items(b, s, Hop::kI2).front(), item);
    EXPECT_EQ(w.users(b, s, Hop::kI1), w.users(b, s, Hop::kI2));
    for (const auto hop : data::kAllHops) {
      const auto tokens = w.joint(b, s, hop);
      EXPECT_EQ(tokens.back(), data::Tokenizer::eos());
      EXPECT_EQ(std::count(tokens.begin(), tokens.end(), data::Tokenizer::eos()), 1);
    }
    // The target's row is an item row, whether a prompt names it or not.
    const auto first_item = b.table_rows() - static_cast<std::int64_t>(b.item_ids.size());
    EXPECT_EQ(b.item_ids[static_cast<std::size_t>(b.target_row[static_cast<std::size_t>(s)] - first_item)],
              train[static_cast<std::size_t>(cut)]);
  }
  EXPECT_EQ(std::set<std::int32_t>(b.user_ids.begin(), b.user_ids.end()).size(), b.user_ids.size());
  EXPECT_EQ(std::set<std::int32_t>(b.item_ids.begin(), b.item_ids.end()).size(), b.item_ids.size());
}

TEST(BatchBuilder, ASampleDoesNotDependOnItsBatch) {
  World w;
  auto builder = w.builder({.users_per_item = 2, .item_users = 3, .items_per_user = 2});
  const auto samples = test::all_prefixes<TrainSample>(w.split);
  HopBatch all, one;
  builder.build(all, samples, HopSet::kAll, 7);
  std::size_t differs = 0;
  for (std::int32_t s = 0; s < all.samples; s += 5) {
    builder.build(one, std::span(&samples[static_cast<std::size_t>(s)], 1), HopSet::kAll, 7);
    for (const auto hop : data::kAllHops) EXPECT_EQ(w.joint(all, s, hop), w.joint(one, 0, hop));
    builder.build(one, std::span(&samples[static_cast<std::size_t>(s)], 1), HopSet::kRecommendOnly, 7);
    EXPECT_EQ(w.joint(all, s, Hop::kU2), w.joint(one, 0, Hop::kU2));
    builder.build(one, std::span(&samples[static_cast<std::size_t>(s)], 1), HopSet::kAll, 8);
    differs += w.joint(all, s, Hop::kU2) != w.joint(one, 0, Hop::kU2);
  }
  EXPECT_GT(differs, 0u) << "neighbours are drawn anew each epoch";
}

TEST(BatchBuilder, PrefixVectorsComeFromThePromptsHistory) {
  World w;
  const auto sample = longest(w.split);
  HopBatch b;
  for (const auto which : {PrefixHistory::kPrompt, PrefixHistory::kAll}) {
    auto builder = w.builder({.history = 3, .prefix_history = which});
    builder.build(b, std::span(&sample, 1), HopSet::kAll, 0);
    ASSERT_EQ(b.own_users, 1);
    EXPECT_EQ(b.own_user_ids, (Ids{sample.user}));
    auto history = w.split.train(sample.user).first(static_cast<std::size_t>(sample.cut));
    ASSERT_GT(history.size(), 3u);
    if (which == PrefixHistory::kPrompt) history = history.last(3);
    std::vector<float> mean(6, 0);
    for (const auto i : history) {
      for (std::size_t c = 0; c < 6; ++c) mean[c] += w.external.item()(i, static_cast<std::int64_t>(c));
    }
    for (std::size_t c = 0; c < 6; ++c)
      EXPECT_NEAR(b.own_user_vectors[c], mean[c] / static_cast<float>(history.size()), 1e-6);
    EXPECT_EQ(std::count(b.user_ids.begin(), b.user_ids.end(), sample.user), 0)
        << "the full vector has seen the target";
  }
}

TEST(BatchBuilder, UserVectorChoices) {
  World w;
  const auto sample = longest(w.split);
  HopBatch b;
  auto fixed = w.builder({.user_vector = UserVector::kStatic});
  fixed.build(b, std::span(&sample, 1), HopSet::kAll, 0);
  EXPECT_EQ(b.own_users, 0);
  EXPECT_EQ(std::count(b.user_ids.begin(), b.user_ids.end(), sample.user), 1);
  EXPECT_EQ(w.users(b, 0, Hop::kU2).front(), sample.user);

  auto none = w.builder({.user_vector = UserVector::kNone});
  none.build(b, std::span(&sample, 1), HopSet::kAll, 0);
  EXPECT_EQ(w.users(b, 0, Hop::kU0), (Ids{sample.user}));
  EXPECT_TRUE(w.users(b, 0, Hop::kU1).empty());
  const auto users = w.users(b, 0, Hop::kU2);
  EXPECT_EQ(std::count(users.begin(), users.end(), sample.user), 0);

  auto dropping = w.builder({.user_vector = UserVector::kStaticDrop, .user_drop = 0.3});
  int kept = 0;
  for (std::uint32_t epoch = 0; epoch < 400; ++epoch) {
    dropping.build(b, std::span(&sample, 1), HopSet::kAll, epoch);
    kept += static_cast<int>(w.users(b, 0, Hop::kU1).size());
  }
  EXPECT_NEAR(kept, 280, 40);  // 4 standard deviations: 37
  dropping.build_eval(b, std::span(&sample.user, 1), data::Phase::kTest);
  EXPECT_EQ(w.users(b, 0, Hop::kU2).front(), sample.user);
}

TEST(BatchBuilder, CentreMayBeDropped) {
  World w;
  const auto sample = longest(w.split);
  auto builder = w.builder({.centre = PromptCentre::kDrop});
  HopBatch b;
  builder.build(b, std::span(&sample, 1), HopSet::kAll, 0);
  EXPECT_EQ(w.users(b, 0, Hop::kU0), (Ids{sample.user}));
  EXPECT_TRUE(w.users(b, 0, Hop::kU1).empty());
  EXPECT_EQ(w.items(b, 0, Hop::kI0), (Ids{b.item[0]}));
  EXPECT_TRUE(w.items(b, 0, Hop::kI1).empty());
  const auto far = w.items(b, 0, Hop::kI2);
  EXPECT_EQ(std::count(far.begin(), far.end(), b.item[0]), 0);
}

TEST(BatchBuilder, ItemCentreMayBeTheTarget) {
  World w;
  const auto samples = test::all_prefixes<TrainSample>(w.split);
  auto builder = w.builder({.i0 = ItemCentre::kTarget});
  HopBatch b;
  builder.build(b, samples, HopSet::kAll, 0);
  EXPECT_EQ(b.item, b.target);
  for (std::int32_t s = 0; s < b.samples; ++s) {
    const auto users = w.users(b, s, Hop::kI2);
    EXPECT_EQ(std::count(users.begin(), users.end(), samples[static_cast<std::size_t>(s)].user), 0);
  }
}

TEST(BatchBuilder, EvaluationIsTheSameEveryTimeAndKnowsTheWholeHistory) {
  World w;
  auto builder = w.builder();
  const auto& users = w.split.users_with_target(data::Phase::kTest);
  HopBatch first, again;
  builder.build_eval(first, users, data::Phase::kTest);
  builder.build_eval(again, users, data::Phase::kTest);
  EXPECT_EQ(first.tokens, again.tokens);
  for (std::int32_t s = 0; s < first.samples; ++s) {
    const auto u = users[static_cast<std::size_t>(s)];
    const auto history = w.split.history(u, data::Phase::kTest);
    EXPECT_EQ(w.items(first, s, Hop::kU2), Ids(history.begin(), history.end()));
    EXPECT_EQ(first.target[static_cast<std::size_t>(s)], w.split.test_target(u));
  }
}

TEST(BatchBuilder, BareHistories) {
  World w;
  auto builder = w.builder();
  HopBatch b, swapped;
  const std::vector<std::vector<data::ItemId>> histories{{3, 4, 5}, {7}};
  builder.build_histories(b, histories);
  EXPECT_EQ(b.own_users, 2);
  const auto prompt = w.joint(b, 0, Hop::kU2);
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), -1), 1) << "an unknown user has a vector but no token";
  EXPECT_EQ(w.items(b, 0, Hop::kU2), (Ids{3, 4, 5}));
  EXPECT_EQ(b.target, (Ids{-1, -1}));
  builder.build_histories(swapped, std::vector<std::vector<data::ItemId>>{{7}, {3, 4, 5}});
  EXPECT_EQ(w.joint(b, 0, Hop::kU2), w.joint(swapped, 1, Hop::kU2));
  test::expect_error<UsageError>([&] { builder.build_histories(b, std::vector<std::vector<data::ItemId>>{{}}); },
                                 {"history", "at least one"});
  test::expect_error<UsageError>([&] { builder.build_histories(b, std::vector<std::vector<data::ItemId>>{{30}}); },
                                 {"31", "1 to 30"});
}

TEST(BatchBuilder, PromptsKeepTheirLimit) {
  World w;
  auto builder = w.builder({.max_tokens = 70});
  const auto samples = test::all_prefixes<TrainSample>(w.split);
  HopBatch b;
  builder.build(b, samples, HopSet::kAll, 0);
  std::int32_t most = 0;
  for (std::size_t s = 0; s + 1 < b.cu.size(); ++s) most = std::max(most, b.cu[s + 1] - b.cu[s]);
  EXPECT_EQ(most, 70);
}

TEST(BatchBuilder, SasRecVectorsNeedTheirModel) {
  World w;
  ExternalEmbeddings::Parts parts{.kind = ExternalKind::kSasRec,
                                  .user = {},
                                  .item = {.rows = 30, .cols = 2, .values = std::vector<float>(60, 1.0f)},
                                  .item_prefix = {},
                                  .name = "sasrec"};
  auto sasrec = ExternalEmbeddings::from_parts(parts, w.split);
  const auto make = [&](UserVector v) {
    BatchBuilder(w.ctx, w.split, test::default_templates(), sasrec, {.user_vector = v}, 1);
  };
  test::expect_error<UsageError>([&] { make(UserVector::kPrefix); }, {"external.user_vector", "sasrec"});
  EXPECT_NO_THROW(make(UserVector::kStatic));
  sasrec.set_prefix_model([](auto, View<float, 2>) {});
  EXPECT_NO_THROW(make(UserVector::kPrefix));
}

}  // namespace
}  // namespace galrec::gal
