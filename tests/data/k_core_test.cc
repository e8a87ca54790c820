#include "data/k_core.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::data {
namespace {

using Ids = std::vector<std::int32_t>;

/// The definition, literally: rounds of counting and dropping until nothing changes.
std::vector<bool> by_rounds(const Ids& user, const Ids& item, std::int32_t users, std::int32_t items, int min_user,
                            int min_item) {
  std::vector<bool> keep(user.size(), true);
  for (bool changed = true; changed;) {
    changed = false;
    std::vector<int> user_count(static_cast<std::size_t>(users)), item_count(static_cast<std::size_t>(items));
    for (std::size_t k = 0; k < user.size(); ++k)
      if (keep[k]) {
        ++user_count[static_cast<std::size_t>(user[k])];
        ++item_count[static_cast<std::size_t>(item[k])];
      }
    for (std::size_t k = 0; k < user.size(); ++k)
      if (keep[k] && (user_count[static_cast<std::size_t>(user[k])] < min_user ||
                      item_count[static_cast<std::size_t>(item[k])] < min_item)) {
        keep[k] = false;
        changed = true;
      }
  }
  return keep;
}

TEST(KCore, RemovalsCascade) {
  // Item 2 has one interaction; without it user 1 falls below two; without user 1 item 1 does, and so on.
  const Ids user{0, 0, 1, 1, 2, 2, 3, 3}, item{0, 1, 1, 2, 0, 3, 3, 0};
  EXPECT_EQ(k_core(user, item, 4, 4, 2, 2), (std::vector<bool>{false, false, false, false, true, true, true, true}));
}

TEST(KCore, DuplicatesCount) {
  const Ids user{0, 0, 0, 1}, item{0, 0, 0, 0};
  EXPECT_EQ(k_core(user, item, 2, 1, 3, 3), (std::vector<bool>{true, true, true, false}));
}

TEST(KCore, OneSwitchesItOffAndAllCanGo) {
  const Ids user{0, 1}, item{0, 1};
  EXPECT_EQ(k_core(user, item, 2, 2, 1, 1), (std::vector<bool>{true, true}));
  EXPECT_EQ(k_core(user, item, 2, 2, 0, 0), (std::vector<bool>{true, true}));
  EXPECT_EQ(k_core(user, item, 2, 2, 2, 1), (std::vector<bool>{false, false}));
  EXPECT_TRUE(k_core({}, {}, 0, 0, 5, 5).empty());
}

TEST(KCore, EqualsTheDefinitionOnRandomGraphs) {
  std::size_t kept = 0, dropped = 0;
  for (std::uint32_t round = 0; round < 60; ++round) {
    PhiloxStream random({7, round, 0});
    const auto users = static_cast<std::int32_t>(5 + random.below(40)),
               items = static_cast<std::int32_t>(5 + random.below(30));
    Ids user, item;
    for (std::uint64_t k = random.below(300); k > 0; --k) {
      user.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(users))));
      item.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(items))));
    }
    const int min_user = static_cast<int>(random.below(8)), min_item = static_cast<int>(random.below(8));
    const auto result = k_core(user, item, users, items, min_user, min_item);
    EXPECT_EQ(result, by_rounds(user, item, users, items, min_user, min_item));
    for (const bool keep : result) ++(keep ? kept : dropped);
  }
  EXPECT_GT(kept, 500u);
  EXPECT_GT(dropped, 500u);
}

TEST(KCore, OutOfRangeIsABug) {
  EXPECT_THROW(k_core(Ids{0}, Ids{3}, 1, 3, 1, 1), CheckError);
}

}  // namespace
}  // namespace galrec::data
