#include "data/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::data {
namespace {

enum Stream : std::uint32_t { kPopularityStream = 1, kIdStream, kUserStream };

struct Theme {
  std::string_view name;
  std::array<std::string_view, 4> things;
};

constexpr std::array<Theme, 12> kThemes{{{"Garden", {"Watering Can", "Flower Pot", "Pruning Shears", "Seed Mix"}},
                                         {"Kitchen", {"Frying Pan", "Chef Knife", "Cutting Board", "Tea Kettle"}},
                                         {"Music", {"Guitar Strings", "Drum Sticks", "Piano Stool", "Song Book"}},
                                         {"Camping", {"Tent", "Sleeping Bag", "Camp Stove", "Head Lamp"}},
                                         {"Painting", {"Oil Colours", "Canvas", "Brush Set", "Easel"}},
                                         {"Cycling", {"Helmet", "Saddle", "Chain Oil", "Bike Light"}},
                                         {"Puzzles", {"Jigsaw", "Wooden Cube", "Maze", "Card Game"}},
                                         {"Skin Care", {"Face Cream", "Hand Lotion", "Lip Balm", "Sun Milk"}},
                                         {"Astronomy", {"Telescope", "Star Map", "Eyepiece", "Tripod"}},
                                         {"Knitting", {"Wool", "Needles", "Pattern Book", "Yarn Bowl"}},
                                         {"Fishing", {"Rod", "Reel", "Lure Set", "Landing Net"}},
                                         {"Trains", {"Locomotive", "Track Set", "Station", "Freight Car"}}}};
constexpr std::array<std::string_view, 16> kOnsets{"b", "d", "f", "g", "k", "l", "m",  "n",
                                                   "p", "r", "s", "t", "v", "z", "br", "st"};
constexpr std::array<std::string_view, 5> kVowels{"a", "e", "i", "o", "u"};
constexpr std::array<std::string_view, 8> kQualities{"Classic", "Small", "Large",  "Blue",
                                                     "Red",     "Light", "Deluxe", "Travel"};

/// Where item `planted` (before the ids are shuffled) stands.
struct Place {
  std::int32_t community, rank, series, position;
};

Place place_of(const SyntheticOptions& o, std::int32_t planted) {
  const std::int32_t rank = planted / o.communities;
  return {planted % o.communities, rank, rank / o.series_length, rank % o.series_length};
}

/// A brand that differs for every series: three syllables, spelt from the number.
std::string brand(std::int32_t number) {
  std::string word;
  auto code = static_cast<std::uint32_t>(number) * 2654435761u;
  for (int syllable = 0; syllable < 3; ++syllable) {
    word += kOnsets[code % kOnsets.size()];
    code /= kOnsets.size();
    word += kVowels[code % kVowels.size()];
    code /= kVowels.size();
  }
  word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

std::string theme_name(std::int32_t community) {
  const auto themes = static_cast<std::int32_t>(kThemes.size());
  const std::string name(kThemes[static_cast<std::size_t>(community % themes)].name);
  return community < themes ? name : fmt::format("{} {}", name, community / themes + 1);
}

template <class T>
void shuffle(std::vector<T>& values, PhiloxStream& random) {
  for (std::size_t k = values.size(); k > 1; --k) std::swap(values[k - 1], values[random.below(k)]);
}

void check_options(const SyntheticOptions& o) {
  const auto require = [](bool holds, std::string_view what) {
    if (!holds) throw UsageError(fmt::format("synthetic data: {}", what));
  };
  require(o.users >= 1 && o.items >= 1 && o.communities >= 1 && o.series_length >= 1,
          "users, items, communities and series_length must be at least 1");
  require(o.items >= o.communities * 2, "expected at least two items for each community");
  require(o.min_length >= 1 && o.min_length <= o.items / 2, "min_length must be between 1 and half of the items");
  require(o.mean_length >= o.min_length, "mean_length must not be below min_length");
  require(o.next_in_series >= 0 && o.outside >= 0 && o.next_in_series <= 1 && o.outside <= 1,
          "chances must lie between 0 and 1");
  require(std::isfinite(o.mean_length) && std::isfinite(o.popularity), "mean_length and popularity must be finite");
}

/// Draws items of one community by popularity.
class Community {
 public:
  Community(const SyntheticOptions& o, std::int32_t community, PhiloxStream& random) {
    for (std::int32_t planted = community; planted < o.items; planted += o.communities) items_.push_back(planted);
    shuffle(items_, random);  // popularity has nothing to do with series
    double sum = 0;
    for (std::size_t rank = 0; rank < items_.size(); ++rank)
      cumulative_.push_back(sum += std::pow(static_cast<double>(rank + 1), -o.popularity));
  }

  std::int32_t draw(PhiloxStream& random) const {
    const double at = random.uniform() * cumulative_.back();
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), at) - cumulative_.begin();
    return items_[std::min(static_cast<std::size_t>(found), items_.size() - 1)];
  }

 private:
  std::vector<std::int32_t> items_;  // most popular first
  std::vector<double> cumulative_;
};

/// One user's items, as planted numbers.
std::vector<std::int32_t> draw_sequence(const SyntheticOptions& o, const std::vector<Community>& communities,
                                        PhiloxStream& random) {
  constexpr int kTries = 64;
  const double extra = -(o.mean_length - o.min_length) * std::log(1 - random.uniform());
  const auto length = static_cast<std::size_t>(std::min(o.min_length + extra, o.items / 2.0));
  const auto home = random.below(communities.size());
  std::vector<std::int32_t> sequence;
  const auto seen = [&](std::int32_t item) {
    return std::find(sequence.begin(), sequence.end(), item) != sequence.end();
  };
  while (sequence.size() < length) {
    std::int32_t next = -1;
    if (!sequence.empty() && random.uniform() < o.next_in_series) {
      const std::int32_t successor = sequence.back() + o.communities;
      const bool same_series =
          successor < o.items && place_of(o, successor).series == place_of(o, sequence.back()).series;
      if (same_series && !seen(successor)) next = successor;
    }
    for (int attempt = 0; next < 0 && attempt < kTries; ++attempt) {
      const bool away = random.uniform() < o.outside || attempt > kTries / 2;
      const std::int32_t drawn = communities[away ? random.below(communities.size()) : home].draw(random);
      if (!seen(drawn)) next = drawn;
    }
    for (std::int32_t item = 0; next < 0; ++item)  // length <= items / 2: one is always left
      if (!seen(item)) next = item;
    sequence.push_back(next);
  }
  return sequence;
}

}  // namespace

Dataset make_synthetic(const SyntheticOptions& o) {
  check_options(o);
  const auto items = static_cast<std::size_t>(o.items);
  PhiloxStream popularity({o.seed, 0, kPopularityStream}), ids({o.seed, 0, kIdStream});
  std::vector<Community> communities;
  for (std::int32_t c = 0; c < o.communities; ++c) communities.emplace_back(o, c, popularity);
  std::vector<ItemId> id_of(items);
  std::iota(id_of.begin(), id_of.end(), 0);
  shuffle(id_of, ids);

  DatasetParts parts;
  parts.name = "synthetic";
  parts.num_items = o.items;
  parts.titles.resize(items);
  parts.categories.resize(items);
  parts.raw_items.resize(items);
  for (std::int32_t planted = 0; planted < o.items; ++planted) {
    const Place p = place_of(o, planted);
    const auto id = static_cast<std::size_t>(id_of[static_cast<std::size_t>(planted)]);
    const Theme& theme = kThemes[static_cast<std::size_t>(p.community) % kThemes.size()];
    const std::string maker = brand(p.series * o.communities + p.community + 1);
    const auto quality = kQualities[static_cast<std::size_t>(p.position) % kQualities.size()];
    parts.titles[id] = fmt::format("{} {} {} {}", maker, quality, theme.things[static_cast<std::size_t>(p.series) % 4],
                                   p.position + 1);
    parts.categories[id] = fmt::format("{} > {}", theme_name(p.community), maker);
    parts.raw_items[id] = fmt::format("syn-{}-{}-{}", p.community, p.series, p.position);
  }
  constexpr std::int64_t kStart = 1577836800, kDay = 86400;  // 2020-01-01
  for (std::int32_t u = 0; u < o.users; ++u) {
    PhiloxStream random({o.seed, static_cast<std::uint32_t>(u), kUserStream});
    std::int64_t time = kStart + static_cast<std::int64_t>(random.below(365 * kDay));
    for (const std::int32_t planted : draw_sequence(o, communities, random)) {
      parts.items.push_back(id_of[static_cast<std::size_t>(planted)]);
      parts.times.push_back(time);
      time += 1 + static_cast<std::int64_t>(random.below(10 * kDay));
    }
    parts.offsets.push_back(static_cast<std::int64_t>(parts.items.size()));
  }
  parts.provenance = {
      {"source", "synthetic"}, {"seed", std::to_string(o.seed)}, {"communities", std::to_string(o.communities)}};
  return Dataset(std::move(parts));
}

}  // namespace galrec::data
