#pragma once
// The figures of the paper's Table II (users, items, interactions, density) and what else a reader wants to know.

#include <cstdint>
#include <span>
#include <string>

#include "data/dataset.h"

namespace galrec::data {

struct Statistics {
  std::string name;
  std::int32_t users = 0;
  std::int32_t items = 0;
  std::int64_t interactions = 0;
  double density_percent = 0;  ///< 100 * interactions / (users * items); the paper's Table II calls it sparsity
  double mean_length = 0;
  std::int64_t min_length = 0;
  std::int64_t max_length = 0;
  std::int32_t short_users = 0;  ///< fewer than three interactions: leave-one-out trains on them only
  std::int32_t one_item_users = 0;
  std::int32_t users_with_repeats = 0;  ///< an item occurs twice in the sequence
  std::int64_t min_item_count = 0;
  std::int64_t max_item_count = 0;
  std::int32_t unseen_items = 0;  ///< known from the metadata, without interactions
  std::int32_t titled_items = 0;
  std::int32_t distinct_titles = 0;
  std::int32_t categorized_items = 0;
  bool has_times = false;
};

Statistics compute_statistics(const Dataset& dataset);

/// A Markdown table with one column a data set.
std::string to_markdown(std::span<const Statistics> columns);

}  // namespace galrec::data
