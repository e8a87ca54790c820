#include "gal/hop_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/gal/world.h"

namespace galrec::gal {
namespace {

using data::ItemId;

// Training parts (all but the last two): user 0: 0 1 2 3, user 1: 0 1, user 2: 3 4, user 3: 2 4 0.
data::Dataset small() {
  return test::make_dataset({{0, 1, 2, 3, 5, 6}, {0, 1, 5, 6}, {3, 4, 5, 6}, {2, 4, 0, 5, 6}}, 7);
}

std::vector<std::int32_t> sorted(std::span<const std::int32_t> x) {
  std::vector<std::int32_t> v(x.begin(), x.end());
  std::sort(v.begin(), v.end());
  return v;
}

TEST(HopSampler, ReachesUsersThroughTheHistoryAlone) {
  const auto dataset = small();
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  HopSampler sampler(ctx, split, {});
  // User 0 before item 2: history 0, 1. User 3 shares 0, user 1 shares both; user 2 shares only item 3, which is
  // hidden.
  const auto train = split.train(0);
  const Centre centre{.user = 0, .history = train.first(2), .hidden = train.subspan(2), .item = 1, .draw = 7};
  Neighbourhood out;
  sampler.sample(out, std::span(&centre, 1), {.seed = 1, .step = 0, .stream = 0});
  EXPECT_EQ(sorted(out.users[0]), (std::vector<std::int32_t>{1, 3}));
  EXPECT_EQ(out.users[0][0], 1) << "the most recent history item, 1, comes first";
  EXPECT_EQ(sorted(out.item_users[0]), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(sorted(out.item_items[0]), (std::vector<std::int32_t>{0})) << "items of user 1, without item 1 itself";
}

TEST(HopSampler, OwnUserMayBeKeptButLeadsToItsHistoryAlone) {
  const auto dataset = small();
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  HopSampler sampler(ctx, split, {.own_user = OwnUser::kKeep});
  const auto train = split.train(0);
  const Centre inside{.user = 0, .history = train.first(2), .hidden = train.subspan(2), .item = 1, .draw = 7};
  const Centre target{.user = 0, .history = train.first(2), .hidden = train.subspan(2), .item = 2, .draw = 7};
  Neighbourhood out;
  const std::array<Centre, 2> centres{inside, target};
  sampler.sample(out, centres, {.seed = 1, .step = 0, .stream = 0});
  EXPECT_EQ(sorted(out.item_users[0]), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(sorted(out.item_items[0]), (std::vector<std::int32_t>{0})) << "items 2 and 3 of user 0 are hidden";
  EXPECT_EQ(sorted(out.item_users[1]), (std::vector<std::int32_t>{3}))
      << "the edge from user 0 to the target is never followed";
  EXPECT_EQ(sorted(out.item_items[1]), (std::vector<std::int32_t>{0, 4}));
}

TEST(HopSampler, DependsOnTheCentreAndTheKeyAlone) {
  const auto dataset = test::random_dataset(60, 25, 14, 3);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext one(1), three(3);
  const SamplingOptions options{.users_per_item = 3, .item_users = 4, .items_per_user = 2};
  HopSampler alone(one, split, options), together(three, split, options);
  std::vector<Centre> centres;
  for (data::UserId u = 0; u < 60; ++u) {
    const auto train = split.train(u);
    if (train.size() < 2) continue;
    centres.push_back({.user = u,
                       .history = train.first(train.size() - 1),
                       .hidden = train.last(1),
                       .item = train[0],
                       .draw = 100 + u});
  }
  Neighbourhood all, single, other_key;
  const PhiloxKey key{.seed = 9, .step = 4, .stream = 0};
  together.sample(all, centres, key);
  together.sample(other_key, centres, {.seed = 9, .step = 5, .stream = 0});
  EXPECT_NE(all.users.values, other_key.users.values);
  for (std::size_t i = 0; i < centres.size(); ++i) {
    alone.sample(single, std::span(&centres[i], 1), key);
    const auto same = [](std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end());
    };
    EXPECT_TRUE(same(all.users[i], single.users[0])) << i;
    EXPECT_TRUE(same(all.item_users[i], single.item_users[0])) << i;
    EXPECT_TRUE(same(all.item_items[i], single.item_items[0])) << i;
  }
}

TEST(HopSampler, ListsHaveNoDuplicatesAndRespectTheirCaps) {
  const auto dataset = test::random_dataset(80, 15, 12, 8);
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(2);
  HopSampler sampler(ctx, split, {.users_per_item = 2, .item_users = 5, .items_per_user = 3});
  std::vector<Centre> centres;
  for (data::UserId u = 0; u < 80; ++u) {
    const auto train = split.train(u);
    if (!train.empty()) centres.push_back({.user = u, .history = train, .hidden = {}, .item = train[0], .draw = u});
  }
  Neighbourhood out;
  sampler.sample(out, centres, {.seed = 2, .step = 0, .stream = 0});
  std::size_t most = 0;
  for (std::size_t i = 0; i < centres.size(); ++i) {
    for (const auto list : {out.users[i], out.item_users[i], out.item_items[i]}) {
      EXPECT_EQ(std::set<std::int32_t>(list.begin(), list.end()).size(), list.size());
    }
    for (const auto u : out.users[i]) EXPECT_NE(u, centres[i].user);
    for (const auto v : out.item_items[i]) EXPECT_NE(v, centres[i].item);
    EXPECT_LE(out.users[i].size(), 2 * centres[i].history.size());
    EXPECT_LE(out.item_users[i].size(), 5u);
    EXPECT_LE(out.item_items[i].size(), 3 * out.item_users[i].size());
    most = std::max(most, out.item_users[i].size());
  }
  EXPECT_EQ(most, 5u);
}

TEST(HopSampler, OneHopLeavesTheSecondOut) {
  const auto dataset = small();
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  HopSampler sampler(ctx, split, {.hops = 1});
  const Centre centre{.user = 0, .history = split.train(0).first(2), .hidden = {}, .item = 1, .draw = 0};
  Neighbourhood out;
  sampler.sample(out, std::span(&centre, 1), {});
  ASSERT_EQ(out.users.size(), 1u);
  EXPECT_TRUE(out.users[0].empty());
  EXPECT_TRUE(out.item_items[0].empty());
  EXPECT_EQ(sorted(out.item_users[0]), (std::vector<std::int32_t>{1}));
}

}  // namespace
}  // namespace galrec::gal
