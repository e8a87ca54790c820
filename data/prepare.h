#pragma once
// From the files of a source to a data set: read, filter, k-core, order, number, attach texts.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "data/interactions.h"
#include "data/readers/recbole.h"

namespace galrec::data {

enum class Format { kS3Rec, kRecbole, kAmazon2014, kAmazon2018, kAmazon2023, kYelp, kMovieLens100K, kMovieLens1M };

/// "s3rec", "recbole", "amazon-2014", ...: the names on the command line, in the order of the enumeration.
std::span<const std::string_view> format_names();
/// Throws UsageError with the known names.
Format parse_format(std::string_view name);

/// kTime: oldest first, equal times in file order; sources without times keep the order of the file. kFile: as it
/// stands.
enum class Order { kTime, kFile };

struct PrepareOptions {
  Format format = Format::kRecbole;
  /// A file, or the folder that the source unpacks to (not for Amazon, whose files have no fixed names).
  std::filesystem::path interactions;
  /// The metadata of the items; empty: the file beside `interactions` where a folder was given, else none.
  std::filesystem::path item_metadata;
  std::string name;                        ///< of the data set; empty: from the path
  std::int32_t min_user_interactions = 5;  ///< k-core; repeated interactions count, 0 or 1 switches it off
  std::int32_t min_item_interactions = 5;
  std::optional<double> min_rating;       ///< keep ratings of at least this
  std::optional<std::int64_t> time_from;  ///< keep times in [time_from, time_to), in the unit of the source
  std::optional<std::int64_t> time_to;
  Order order = Order::kTime;
  RecboleFields recbole;
};

/// How much each step left.
struct PrepareReport {
  std::int64_t read = 0, after_filters = 0, after_k_core = 0;
  std::int32_t users_read = 0, items_read = 0;
  std::int64_t metadata_rows = 0;
  std::int64_t metadata_repeats = 0;  ///< later rows for an item that has its texts already; the first row counts
  std::int32_t items_with_metadata = 0;
};

/// Runs the whole pipeline. Users are numbered in the order of the file, items by first appearance in the sequences.
/// Throws UsageError (no such option for this source), DataError (bad files; nothing left after the filters).
Dataset prepare(const PrepareOptions& options, PrepareReport* report = nullptr);

/// The pipeline after reading, for interactions from elsewhere; texts come from `item_text`, called with a sink.
using ItemTextSource = std::function<void(const ItemTextSink&)>;
Dataset prepare_interactions(const Interactions& interactions, const PrepareOptions& options,
                             const ItemTextSource& item_text = {}, PrepareReport* report = nullptr);

}  // namespace galrec::data
