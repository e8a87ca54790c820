#include "data/synthetic.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>

#include "tests/data/test_files.h"

namespace galrec::data {
namespace {

struct Place {
  int community = -1, series = -1, position = -1;
};

Place planted(const Dataset& dataset, ItemId item) {
  Place p;
  EXPECT_EQ(std::sscanf(dataset.raw_item(item).c_str(), "syn-%d-%d-%d", &p.community, &p.series, &p.position), 3);
  return p;
}

std::string fingerprint(const Dataset& dataset) {
  std::ostringstream out;
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    for (const ItemId item : dataset.sequence(u)) out << item << ' ';
    for (const std::int64_t time : dataset.times(u)) out << time << ' ';
  }
  for (ItemId i = 0; i < dataset.num_items(); ++i)
    out << dataset.item_title(i) << '|' << dataset.item_categories(i) << '|';
  return out.str();
}

TEST(Synthetic, IsAFunctionOfItsOptions) {
  SyntheticOptions options;
  options.users = 50;
  EXPECT_EQ(fingerprint(make_synthetic(options)), fingerprint(make_synthetic(options)));
  SyntheticOptions other = options;
  other.seed = 2;
  EXPECT_NE(fingerprint(make_synthetic(options)), fingerprint(make_synthetic(other)));
  // Users have streams of their own: more of them do not change the first ones.
  other = options;
  other.users = 80;
  const Dataset few = make_synthetic(options), many = make_synthetic(other);
  for (UserId u = 0; u < 50; ++u) EXPECT_TRUE(std::ranges::equal(few.sequence(u), many.sequence(u)));
}

TEST(Synthetic, HasTheShapeThatWasAskedFor) {
  const SyntheticOptions options;
  const Dataset dataset = make_synthetic(options);
  EXPECT_EQ(dataset.num_users(), options.users);
  EXPECT_EQ(dataset.num_items(), options.items);
  const double mean = static_cast<double>(dataset.num_interactions()) / dataset.num_users();
  EXPECT_NEAR(mean, options.mean_length, 1);
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const auto sequence = dataset.sequence(u);
    EXPECT_GE(sequence.size(), 5u);
    EXPECT_EQ(std::set<ItemId>(sequence.begin(), sequence.end()).size(), sequence.size());
    EXPECT_TRUE(std::ranges::is_sorted(dataset.times(u)));
  }
}

TEST(Synthetic, PlantsCommunitiesSeriesAndAPowerLaw) {
  const SyntheticOptions options;
  const Dataset dataset = make_synthetic(options);
  std::int64_t steps = 0, in_series = 0, at_home = 0, in_all = 0;
  std::vector<int> counts(static_cast<std::size_t>(options.items));
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const auto sequence = dataset.sequence(u);
    std::map<int, std::int64_t> of_community;
    for (std::size_t k = 0; k < sequence.size(); ++k) {
      const Place here = planted(dataset, sequence[k]);
      ++of_community[here.community];
      ++counts[static_cast<std::size_t>(sequence[k])];
      if (k == 0) continue;
      const Place before = planted(dataset, sequence[k - 1]);
      ++steps;
      in_series +=
          here.community == before.community && here.series == before.series && here.position == before.position + 1;
    }
    in_all += static_cast<std::int64_t>(sequence.size());
    at_home += std::ranges::max_element(of_community, {}, [](const auto& entry) { return entry.second; })->second;
  }
  EXPECT_GT(static_cast<double>(in_series) / static_cast<double>(steps), 0.35);  // random ids: 1/600
  EXPECT_GT(static_cast<double>(at_home) / static_cast<double>(in_all), 0.75);   // random: about 1/8
  std::ranges::sort(counts, std::greater<>());
  std::int64_t head = 0;
  for (std::size_t k = 0; k < counts.size() / 10; ++k) head += counts[k];
  EXPECT_GT(static_cast<double>(head) / static_cast<double>(in_all), 0.2);  // the top tenth of the items
}

TEST(Synthetic, TitlesTellCommunityAndSeries) {
  const SyntheticOptions options;
  const Dataset dataset = make_synthetic(options);
  std::set<std::string> titles;
  std::map<std::pair<int, int>, std::set<std::string>> categories;
  for (ItemId i = 0; i < dataset.num_items(); ++i) {
    titles.insert(dataset.item_title(i));
    const Place p = planted(dataset, i);
    categories[{p.community, p.series}].insert(dataset.item_categories(i));
  }
  EXPECT_EQ(titles.size(), static_cast<std::size_t>(dataset.num_items()));
  std::set<std::string> distinct;
  for (const auto& [place, names] : categories) {
    EXPECT_EQ(names.size(), 1u);
    distinct.insert(names.begin(), names.end());
  }
  EXPECT_EQ(distinct.size(), categories.size());
}

TEST(Synthetic, ExtremesWork) {
  SyntheticOptions options;
  options.users = 20;
  options.items = 10;
  options.communities = 5;
  options.min_length = 5;
  options.mean_length = 50;  // longer than the items allow: cut to half of them
  const Dataset dataset = make_synthetic(options);
  for (UserId u = 0; u < dataset.num_users(); ++u) EXPECT_EQ(dataset.sequence(u).size(), 5u);
  options.communities = 20;
  options.items = 400;
  EXPECT_NO_THROW(make_synthetic(options));
}

TEST(Synthetic, ImpossibleOptionsAreUsageErrors) {
  const auto refuse = [](auto change) {
    SyntheticOptions options;
    change(options);
    EXPECT_THROW(make_synthetic(options), UsageError);
  };
  refuse([](SyntheticOptions& o) { o.users = 0; });
  refuse([](SyntheticOptions& o) { o.communities = 500; });
  refuse([](SyntheticOptions& o) { o.min_length = 301; });
  refuse([](SyntheticOptions& o) { o.mean_length = 3; });
  refuse([](SyntheticOptions& o) { o.outside = 1.5; });
  refuse([](SyntheticOptions& o) { o.mean_length = INFINITY; });
}

}  // namespace
}  // namespace galrec::data
