#pragma once
// A made-up data set with structure that models can find: communities, series of items, a power law, titles.

#include <cstdint>

#include "data/dataset.h"

namespace galrec::data {

struct SyntheticOptions {
  std::int32_t users = 1000;
  std::int32_t items = 600;
  std::int32_t communities = 8;
  std::int32_t series_length = 10;  ///< items of a community come in series that people follow in order
  std::int32_t min_length = 5;
  double mean_length = 12;
  double next_in_series = 0.5;  ///< chance that the next item is the successor of the last one in its series
  double outside = 0.1;         ///< chance of an item from any community
  double popularity = 0.8;      ///< weight of the r-th item of a community: (r + 1)^-popularity
  std::uint64_t seed = 1;
};

/// Every user belongs to one community and, except for `outside` steps, takes its items: with `next_in_series` the one
/// after the last, else one drawn by popularity; nobody takes an item twice. Titles name the community's thing, the
/// series' brand and the position, so that a tokenizer and a text encoder have something to learn. Item ids are
/// shuffled: they tell nothing; the raw id "syn-community-series-position" tells what was planted. The same options
/// give the same data set everywhere. Throws UsageError for impossible options.
Dataset make_synthetic(const SyntheticOptions& options);

}  // namespace galrec::data
