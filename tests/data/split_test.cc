#include "data/split.h"

#include <algorithm>

#include "tests/data/test_files.h"

namespace galrec::data {
namespace {

Dataset make(std::vector<std::int64_t> offsets, std::vector<ItemId> items, std::vector<std::int64_t> times = {}) {
  DatasetParts parts;
  parts.name = "made";
  parts.num_items = items.empty() ? 0 : *std::max_element(items.begin(), items.end()) + 1;
  parts.offsets = std::move(offsets);
  parts.items = std::move(items);
  parts.times = std::move(times);
  return Dataset(std::move(parts));
}

std::vector<ItemId> list(std::span<const ItemId> items) {
  return {items.begin(), items.end()};
}
using Items = std::vector<ItemId>;

TEST(LeaveOneOut, HoldsTheLastTwoOut) {
  const Dataset dataset = make({0, 5, 8}, {4, 3, 2, 1, 0, 7, 6, 5});
  const Split split = Split::leave_one_out(dataset);
  EXPECT_EQ(list(split.train(0)), (Items{4, 3, 2}));
  EXPECT_EQ(split.valid_target(0), 1);
  EXPECT_EQ(split.test_target(0), 0);
  EXPECT_EQ(list(split.history(0, Phase::kValid)), (Items{4, 3, 2}));
  EXPECT_EQ(list(split.history(0, Phase::kTest)), (Items{4, 3, 2, 1}));
  EXPECT_EQ(list(split.train(1)), (Items{7}));
  EXPECT_EQ(split.num_train_interactions(), 4);
  EXPECT_EQ(split.users_with_target(Phase::kTest), (std::vector<UserId>{0, 1}));
  EXPECT_EQ(split.num_train_only_users(), 0);
}

TEST(LeaveOneOut, ShortUsersOnlyTrain) {
  const Dataset dataset = make({0, 0, 1, 3, 6}, {0, 1, 2, 0, 1, 2});
  const Split split = Split::leave_one_out(dataset);
  for (const UserId u : {0, 1, 2}) {
    EXPECT_EQ(split.valid_target(u), -1);
    EXPECT_EQ(split.test_target(u), -1);
    EXPECT_EQ(list(split.train(u)), list(dataset.sequence(u)));
    EXPECT_EQ(list(split.history(u, Phase::kTest)), list(dataset.sequence(u)));
  }
  EXPECT_EQ(split.num_train_only_users(), 3);
  EXPECT_EQ(split.users_with_target(Phase::kValid), (std::vector<UserId>{3}));
  EXPECT_EQ(split.num_train_interactions(), 4);
}

TEST(TemporalSplit, CutsEverybodyAtTheSameTimes) {
  // Times 0..9: the last 20 % are 8, 9 and the 20 % before 6, 7.
  const Dataset dataset = make({0, 4, 8, 10}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 1, 6, 8, 2, 3, 4, 7, 5, 9});
  const Split split = Split::temporal(dataset, 0.2, 0.2);
  EXPECT_EQ(list(split.train(0)), (Items{0, 1}));
  EXPECT_EQ(split.valid_target(0), 2);
  EXPECT_EQ(split.test_target(0), 3);
  EXPECT_EQ(list(split.history(0, Phase::kTest)), (Items{0, 1, 2}));
  EXPECT_EQ(list(split.train(1)), (Items{4, 5, 6}));
  EXPECT_EQ(split.valid_target(1), 7);
  EXPECT_EQ(split.test_target(1), -1);
  EXPECT_EQ(list(split.history(1, Phase::kTest)), (Items{4, 5, 6, 7}));
  EXPECT_EQ(split.valid_target(2), -1);
  EXPECT_EQ(split.test_target(2), 9);
  EXPECT_EQ(split.kind(), SplitKind::kTemporal);
}

TEST(TemporalSplit, NothingTrainedLiesAfterTheCutAndTargetsHaveHistory) {
  // User 1 starts in the test period: its first item has no history, so the second is the target.
  const Dataset dataset = make({0, 6, 8, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 1, 2, 3, 4, 5, 100, 101, 102});
  const Split split = Split::temporal(dataset, 0.2, 0.34);
  EXPECT_EQ(split.train(1).size(), 0u);
  EXPECT_EQ(split.test_target(1), 7);
  EXPECT_EQ(list(split.history(1, Phase::kTest)), (Items{6}));
  EXPECT_EQ(split.test_target(2), -1);  // a single interaction
  EXPECT_EQ(split.num_train_only_users(), 1);
}

TEST(TemporalSplit, EqualTimesStayTogether) {
  const Dataset dataset = make({0, 10}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 1, 2, 3, 3, 3, 3, 7, 8, 9});
  const Split split = Split::temporal(dataset, 0.4, 0.2);  // the cut falls into the 3s
  EXPECT_EQ(split.train(0).size(), 3u);
  EXPECT_EQ(split.valid_target(0), 3);
}

TEST(TemporalSplit, RefusesWhatItCannotDo) {
  const Dataset timeless = make({0, 3}, {0, 1, 2});
  EXPECT_THROW(Split::temporal(timeless, 0.1, 0.1), UsageError);
  const Dataset dataset = make({0, 4}, {0, 1, 2, 3}, {0, 1, 2, 3});
  for (const auto& [valid, test] : {std::pair{0.0, 0.1}, {0.1, 0.0}, {0.5, 0.5}, {-1.0, 0.1}})
    EXPECT_THROW(Split::temporal(dataset, valid, test), UsageError);
  const Dataset tied = make({0, 4}, {0, 1, 2, 3}, {5, 5, 5, 5});
  test::expect_data_error([&] { Split::temporal(tied, 0.2, 0.2); }, {"made", "too many equal times"});
}

}  // namespace
}  // namespace galrec::data
