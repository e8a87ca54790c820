#include "data/leak_audit.h"

#include <cmath>

#include "data/synthetic.h"
#include "tests/data/test_files.h"
#include "tests/support/real_data.h"

namespace galrec::data {
namespace {

Dataset make(std::vector<std::int64_t> offsets, std::vector<ItemId> items, std::int32_t num_items,
             std::vector<std::int64_t> times = {}) {
  DatasetParts parts;
  parts.name = "made";
  parts.offsets = std::move(offsets);
  parts.items = std::move(items);
  parts.times = std::move(times);
  parts.num_items = num_items;
  return Dataset(std::move(parts));
}

LeakAudit audit(const Dataset& dataset) {
  return audit_leaks(Split::leave_one_out(dataset));
}

bool says(const LeakAudit& audit, std::string_view text) {
  return to_report(audit).find(text) != std::string::npos;
}

TEST(LeakAudit, SeesIdsInReadingOrder) {
  const LeakAudit leaky = audit(make({0, 5, 10}, {0, 1, 2, 3, 4, 10, 11, 12, 13, 14}, 1000));
  EXPECT_DOUBLE_EQ(leaky.mean_spearman, 1);
  EXPECT_DOUBLE_EQ(leaky.successor_share, 1);
  EXPECT_DOUBLE_EQ(leaky.successor_test, 1);
  EXPECT_DOUBLE_EQ(leaky.successor_chance, 0.001);
  EXPECT_TRUE(says(leaky, "The ids give some test targets away"));
  const LeakAudit falling = audit(make({0, 4}, {9, 7, 5, 3}, 1000));
  EXPECT_DOUBLE_EQ(falling.mean_spearman, -1);
  EXPECT_EQ(falling.successor_share, 0);
  EXPECT_TRUE(says(falling, "The ids follow the order of reading"));
}

TEST(LeakAudit, SpearmanUsesMeanRanksForTies) {
  // Ids 5 5 7 at positions 0 1 2: ranks .5 .5 2; correlation sqrt(3)/2. The user of equal ids does not count.
  EXPECT_NEAR(audit(make({0, 3, 6}, {5, 5, 7, 4, 4, 4}, 10)).mean_spearman, std::sqrt(3.0) / 2, 1e-12);
}

TEST(LeakAudit, CountsTiesAndFuture) {
  // User 0 trains at times 1 and 9; user 1's test target is at 5, tied with its validation item.
  const LeakAudit a = audit(make({0, 4, 7}, {0, 1, 2, 3, 0, 1, 2}, 4, {1, 9, 10, 11, 1, 5, 5}));
  EXPECT_TRUE(a.has_times);
  EXPECT_EQ(a.consecutive_pairs, 5);
  EXPECT_EQ(a.tied_pairs, 1);
  EXPECT_EQ(a.tied_test, 1);
  EXPECT_EQ(a.test_before_train, 1);
  EXPECT_TRUE(says(a, "leave-one-out's nature"));
  EXPECT_TRUE(says(audit(make({0, 3}, {0, 1, 2}, 3)), "times: none"));
}

TEST(LeakAudit, CountsUnseenTargetsAndRepeats) {
  // Users: 0 1 2 1 (test repeats), 0 1 3 4 (both targets unseen), 2 (too short to test, but trains).
  const LeakAudit a = audit(make({0, 4, 8, 9}, {0, 1, 2, 1, 0, 1, 3, 4, 2}, 5));
  EXPECT_EQ(a.test_users, 2);
  EXPECT_EQ(a.test_unseen, 1);
  EXPECT_EQ(a.valid_unseen, 1);
  EXPECT_EQ(a.users_with_repeats, 1);
  EXPECT_EQ(a.test_repeats, 1);
  EXPECT_DOUBLE_EQ(a.best_hr_when_masked, 0.5);
  EXPECT_TRUE(says(a, "caps HR at 0.5000"));
  EXPECT_TRUE(says(a, "HR is at most 0.5000"));
}

TEST(LeakAudit, ACleanDataSetIsCalledClean) {
  SyntheticOptions options;
  options.users = 400;
  const Dataset dataset = make_synthetic(options);
  const LeakAudit a = audit(dataset);
  EXPECT_LT(std::abs(a.mean_spearman), 0.1);
  EXPECT_TRUE(says(a, "The ids do not give the order away"));
  EXPECT_EQ(a.test_repeats, 0);
  const LeakAudit temporal = audit_leaks(Split::temporal(dataset, 0.1, 0.1));
  EXPECT_EQ(temporal.test_before_train, 0);
  EXPECT_TRUE(says(temporal, "No training interaction lies in a target's future"));
}

TEST(LeakAudit, AnEmptyDataSetDoesNotDivideByZero) {
  const LeakAudit a = audit(Dataset());
  EXPECT_EQ(a.successor_share, 0);
  EXPECT_FALSE(says(a, "nan"));
}

TEST(LeakAudit, SharedDataHaveTheKnownLeaks) {
  struct Known {
    const char* folder;
    std::int32_t unseen, with_repeats, test_repeats;
  };
  for (const Known& known : {Known{"beauty", 138, 0, 0}, Known{"toys", 279, 0, 0}, Known{"yelp", 73, 7102, 2027}}) {
    SCOPED_TRACE(known.folder);
    const auto folder = galrec::test::real_data(known.folder);
    GALREC_REQUIRE_DATA(folder);
    const Dataset dataset = Dataset::load(folder);
    const LeakAudit a = audit(dataset);
    EXPECT_EQ(a.test_users, dataset.num_users());
    EXPECT_EQ(a.test_unseen, known.unseen);
    EXPECT_EQ(a.users_with_repeats, known.with_repeats);
    EXPECT_EQ(a.test_repeats, known.test_repeats);
    EXPECT_NEAR(a.best_hr_when_masked, known.test_repeats == 0 ? 1 : 0.933, 0.0005);
    EXPECT_GT(a.successor_test, 0.01);  // numbered by first appearance
    EXPECT_TRUE(says(a, "The ids give some test targets away"));
    RecordProperty(std::string(known.folder) + "_report", to_report(a));
  }
}

}  // namespace
}  // namespace galrec::data
