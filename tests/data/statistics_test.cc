#include "data/statistics.h"

#include "tests/data/test_files.h"
#include "tests/support/real_data.h"

namespace galrec::data {
namespace {

TEST(Statistics, CountsASmallDataSet) {
  DatasetParts parts;
  parts.name = "tiny";
  parts.offsets = {0, 4, 5, 7};
  parts.items = {0, 1, 0, 2, 1, 2, 1};
  parts.num_items = 4;
  parts.titles = {"x", "x", "", "y"};
  parts.categories = {"c", "", "", ""};
  const Statistics s = compute_statistics(Dataset(std::move(parts)));
  EXPECT_EQ(s.users, 3);
  EXPECT_EQ(s.interactions, 7);
  EXPECT_DOUBLE_EQ(s.density_percent, 100.0 * 7 / 12);
  EXPECT_DOUBLE_EQ(s.mean_length, 7.0 / 3);
  EXPECT_EQ(s.min_length, 1);
  EXPECT_EQ(s.max_length, 4);
  EXPECT_EQ(s.short_users, 2);
  EXPECT_EQ(s.one_item_users, 1);
  EXPECT_EQ(s.users_with_repeats, 1);
  EXPECT_EQ(s.unseen_items, 1);
  EXPECT_EQ(s.max_item_count, 3);
  EXPECT_EQ(s.titled_items, 3);
  EXPECT_EQ(s.distinct_titles, 2);
  EXPECT_EQ(s.categorized_items, 1);
}

TEST(Statistics, AnEmptyDataSetIsAllZeros) {
  const Statistics s = compute_statistics(Dataset());
  EXPECT_EQ(s.users, 0);
  EXPECT_EQ(s.density_percent, 0);
  EXPECT_EQ(s.mean_length, 0);
}

TEST(Statistics, MarkdownHasOneColumnADataSet) {
  Statistics a, b;
  a.name = "one";
  a.interactions = 1234567;
  b.name = "two";
  b.users = 999;
  const std::string table = to_markdown(std::vector<Statistics>{a, b});
  EXPECT_NE(table.find("| | one | two |\n|---|---|---|\n"), std::string::npos) << table;
  EXPECT_NE(table.find("| interactions | 1,234,567 | 0 |"), std::string::npos) << table;
  EXPECT_NE(table.find("| users | 0 | 999 |"), std::string::npos) << table;
}

struct TableTwo {
  const char* folder;
  std::int32_t users, items;
  std::int64_t interactions;
  double density;
  std::int64_t longest;
  double mean;
  std::int32_t titled, distinct, categorized, repeats;
};

// The paper's Table II, and the statistics of the data pack's README.
TEST(Statistics, SharedDataEqualTableTwo) {
  for (const TableTwo& row : {TableTwo{"beauty", 22363, 12101, 198502, 0.0734, 204, 8.88, 12094, 12066, 12101, 0},
                              TableTwo{"toys", 19412, 11924, 167597, 0.0724, 550, 8.63, 11881, 11817, 11924, 0},
                              TableTwo{"yelp", 30431, 20033, 316354, 0.0519, 350, 10.40, 20033, 15336, 20032, 7102}}) {
    SCOPED_TRACE(row.folder);
    const auto folder = galrec::test::real_data(row.folder);
    GALREC_REQUIRE_DATA(folder);
    const Statistics s = compute_statistics(Dataset::load(folder));
    EXPECT_EQ(s.users, row.users);
    EXPECT_EQ(s.items, row.items);
    EXPECT_EQ(s.interactions, row.interactions);
    EXPECT_NEAR(s.density_percent, row.density, 0.00005);
    EXPECT_EQ(s.min_length, 5);
    EXPECT_EQ(s.max_length, row.longest);
    EXPECT_NEAR(s.mean_length, row.mean, 0.005);
    EXPECT_EQ(s.min_item_count, 5);
    EXPECT_EQ(s.titled_items, row.titled);
    EXPECT_EQ(s.distinct_titles, row.distinct);
    EXPECT_EQ(s.categorized_items, row.categorized);
    EXPECT_EQ(s.users_with_repeats, row.repeats);
    EXPECT_EQ(s.unseen_items, 0);
    EXPECT_EQ(s.short_users, 0);
  }
}

}  // namespace
}  // namespace galrec::data
