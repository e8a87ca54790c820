#include "gal/epoch_samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/gal/world.h"
#include "tests/support/real_data.h"

namespace galrec::gal {
namespace {

struct World {
  data::Dataset dataset = test::random_dataset(200, 150, 10, 2);
  data::Split split = data::Split::leave_one_out(dataset);
  CpuContext ctx{1};
  HopSampler graph{ctx, split, {}};
  std::vector<TrainSample> samples(const SamplingOptions& options, std::uint32_t epoch = 0, std::int32_t group = 16) {
    return epoch_samples(split, graph, options, 3, epoch, group);
  }
};

std::set<std::pair<int, int>> as_set(const std::vector<TrainSample>& samples) {
  std::set<std::pair<int, int>> out;
  for (const auto& s : samples) out.insert({s.user, s.cut});
  return out;
}

TEST(EpochSamples, UnitsHaveTheirSizesAndCuts) {
  World w;
  for (const auto unit : {SampleUnit::kPrefix, SampleUnit::kCut, SampleUnit::kLast}) {
    const auto samples = w.samples({.unit = unit});
    EXPECT_EQ(static_cast<std::int64_t>(samples.size()), epoch_size(w.split, unit));
    EXPECT_EQ(as_set(samples).size(), samples.size());
    for (const auto& s : samples) {
      const auto n = static_cast<std::int32_t>(w.split.train(s.user).size());
      EXPECT_TRUE(s.cut >= 1 && s.cut < n);
      EXPECT_TRUE(unit != SampleUnit::kLast || s.cut == n - 1);
    }
  }
}

TEST(EpochSamples, ShufflesByEpoch) {
  World w;
  EXPECT_EQ(w.samples({}), w.samples({}));
  EXPECT_NE(w.samples({}), w.samples({}, 1));
  EXPECT_EQ(as_set(w.samples({})), as_set(w.samples({}, 1)));
  EXPECT_NE(as_set(w.samples({.unit = SampleUnit::kCut})), as_set(w.samples({.unit = SampleUnit::kCut}, 1)))
      << "cuts are drawn anew";
}

/// Share of pairs within groups of 16 whose users have a training item in common.
double neighbour_share(World& w, const std::vector<TrainSample>& samples) {
  std::int64_t pairs = 0, sharing = 0;
  for (std::size_t first = 0; first + 16 <= samples.size(); first += 16) {
    for (std::size_t a = first; a < first + 16; ++a) {
      for (std::size_t b = a + 1; b < first + 16; ++b) {
        const auto x = w.split.train(samples[a].user), y = w.split.train(samples[b].user);
        ++pairs;
        sharing += std::find_first_of(x.begin(), x.end(), y.begin(), y.end()) != x.end();
      }
    }
  }
  return static_cast<double>(sharing) / static_cast<double>(pairs);
}

TEST(EpochSamples, NeighbourOrderIsAPermutationThatGathersNeighbours) {
  World w;
  const auto random = w.samples({}), near = w.samples({.order = SampleOrder::kNeighbours});
  EXPECT_EQ(as_set(random), as_set(near));
  EXPECT_EQ(random.size(), near.size());
  EXPECT_EQ(near, w.samples({.order = SampleOrder::kNeighbours}));
  EXPECT_GT(neighbour_share(w, near), 1.5 * neighbour_share(w, random));
}

TEST(EpochSamples, BeautyHasThePapersNumberOfPrefixes) {
  GALREC_REQUIRE_DATA(test::real_data("beauty"));
  const auto dataset = data::Dataset::load(test::real_data("beauty"));
  const auto split = data::Split::leave_one_out(dataset);
  EXPECT_EQ(epoch_size(split, SampleUnit::kPrefix), 131413);
}

}  // namespace
}  // namespace galrec::gal
