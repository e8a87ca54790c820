#include "data/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "data/k_core.h"
#include "data/readers/amazon.h"
#include "data/readers/items_tsv.h"
#include "data/readers/movielens.h"
#include "data/readers/s3rec.h"
#include "data/readers/yelp.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

namespace fs = std::filesystem;

struct FormatInfo {
  std::string_view name;
  const char* interactions;  // within the folder of the source; nullptr: no fixed name
  const char* items;
};
constexpr std::array<FormatInfo, 8> kFormats{
    {{"s3rec", "sequences.txt", "items.tsv"},
     {"recbole", nullptr, nullptr},
     {"amazon-2014", nullptr, nullptr},
     {"amazon-2018", nullptr, nullptr},
     {"amazon-2023", nullptr, nullptr},
     {"yelp", "yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"},
     {"movielens-100k", "u.data", "u.item"},
     {"movielens-1m", "ratings.dat", "movies.dat"}}};

std::string file_stem(const fs::path& path) {
  const fs::path clean = path.has_filename() ? path : path.parent_path();
  return clean.stem().string();
}

/// Replaces a folder by the files in it.
PrepareOptions resolve(PrepareOptions options) {
  std::error_code ignored;
  if (options.name.empty()) options.name = file_stem(fs::absolute(options.interactions).lexically_normal());
  if (!fs::is_directory(options.interactions, ignored)) return options;
  const fs::path folder = options.interactions;
  const FormatInfo& info = kFormats[static_cast<std::size_t>(options.format)];
  fs::path items;
  if (options.format == Format::kRecbole) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
      if (entry.path().extension() == ".inter") found.push_back(entry.path());
    if (found.size() != 1)
      throw UsageError(
          fmt::format("{}: got {} .inter files, expected one; name the file itself", folder.string(), found.size()));
    options.interactions = found.front();
    items = fs::path(found.front()).replace_extension(".item");
  } else if (info.interactions == nullptr) {
    throw UsageError(
        fmt::format("{}: is a folder; name the review file itself for the format {}", folder.string(), info.name));
  } else {
    options.interactions = folder / info.interactions;
    items = folder / info.items;
  }
  if (options.item_metadata.empty() && fs::exists(items, ignored)) options.item_metadata = items;
  return options;
}

Interactions read_interactions(const PrepareOptions& options) {
  LineReader reader(options.interactions);
  switch (options.format) {
    case Format::kS3Rec:
      return read_s3rec_interactions(reader);
    case Format::kRecbole:
      return read_recbole_interactions(reader, options.recbole);
    case Format::kAmazon2014:
      return read_amazon_reviews(reader, AmazonRelease::k2014);
    case Format::kAmazon2018:
      return read_amazon_reviews(reader, AmazonRelease::k2018);
    case Format::kAmazon2023:
      return read_amazon_reviews(reader, AmazonRelease::k2023);
    case Format::kYelp:
      return read_yelp_reviews(reader);
    case Format::kMovieLens100K:
      return read_movielens_ratings(reader, MovieLens::k100K);
    case Format::kMovieLens1M:
      return read_movielens_ratings(reader, MovieLens::k1M);
  }
  throw UsageError("unknown format");
}

void read_items(const PrepareOptions& options, const ItemTextSink& sink) {
  LineReader reader(options.item_metadata);
  switch (options.format) {
    case Format::kS3Rec: {
      ItemTable table = read_items_tsv(reader);
      for (std::size_t k = 0; k < table.titles.size(); ++k)
        sink(std::to_string(k + 1), {std::move(table.titles[k]), std::move(table.categories[k])});
      return;
    }
    case Format::kRecbole:
      return read_recbole_items(reader, sink, options.recbole);
    case Format::kAmazon2014:
      return read_amazon_items(reader, AmazonRelease::k2014, sink);
    case Format::kAmazon2018:
      return read_amazon_items(reader, AmazonRelease::k2018, sink);
    case Format::kAmazon2023:
      return read_amazon_items(reader, AmazonRelease::k2023, sink);
    case Format::kYelp:
      return read_yelp_businesses(reader, sink);
    case Format::kMovieLens100K:
      return read_movielens_items(reader, MovieLens::k100K, sink);
    case Format::kMovieLens1M:
      return read_movielens_items(reader, MovieLens::k1M, sink);
  }
}

/// Rows that pass rating and time filters and the k-core, in file order.
std::vector<std::size_t> surviving_rows(const Interactions& in, const PrepareOptions& options, PrepareReport& report) {
  if (options.min_rating && in.rating.empty()) throw UsageError("min_rating: this source has no ratings");
  if ((options.time_from || options.time_to) && in.time.empty())
    throw UsageError("time_from, time_to: this source has no times");
  std::vector<std::size_t> rows;
  std::vector<std::int32_t> user, item;
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (options.min_rating && in.rating[k] < *options.min_rating) continue;
    if (options.time_from && in.time[k] < *options.time_from) continue;
    if (options.time_to && in.time[k] >= *options.time_to) continue;
    rows.push_back(k);
    user.push_back(in.user[k]);
    item.push_back(in.item[k]);
  }
  report.after_filters = static_cast<std::int64_t>(rows.size());
  const std::vector<bool> keep = k_core(user, item, in.users.size(), in.items.size(), options.min_user_interactions,
                                        options.min_item_interactions);
  std::size_t kept = 0;
  for (std::size_t k = 0; k < rows.size(); ++k)
    if (keep[k]) rows[kept++] = rows[k];
  rows.resize(kept);
  report.after_k_core = static_cast<std::int64_t>(kept);
  return rows;
}

/// Users in the order of their first row that is left, each with its rows in sequence order.
std::vector<std::vector<std::size_t>> rows_by_user(const Interactions& in, const std::vector<std::size_t>& rows,
                                                   Order order) {
  std::vector<std::int32_t> number(static_cast<std::size_t>(in.users.size()), -1);
  std::vector<std::vector<std::size_t>> users;
  for (const std::size_t row : rows) {
    std::int32_t& u = number[static_cast<std::size_t>(in.user[row])];
    if (u < 0) {
      u = static_cast<std::int32_t>(users.size());
      users.emplace_back();
    }
    users[static_cast<std::size_t>(u)].push_back(row);
  }
  if (order == Order::kTime && !in.time.empty())
    for (auto& sequence : users)
      std::stable_sort(sequence.begin(), sequence.end(),
                       [&](std::size_t a, std::size_t b) { return in.time[a] < in.time[b]; });
  return users;
}

}  // namespace

std::span<const std::string_view> format_names() {
  static const auto names = [] {
    std::array<std::string_view, kFormats.size()> all;
    std::transform(kFormats.begin(), kFormats.end(), all.begin(), [](const FormatInfo& info) { return info.name; });
    return all;
  }();
  return names;
}

Format parse_format(std::string_view name) {
  for (std::size_t k = 0; k < kFormats.size(); ++k)
    if (kFormats[k].name == name) return static_cast<Format>(k);
  std::string known;
  for (const std::string_view format : format_names()) known += fmt::format("{}{}", known.empty() ? "" : ", ", format);
  throw UsageError(fmt::format("got the format '{}', expected one of {}", name, known));
}

Dataset prepare_interactions(const Interactions& in, const PrepareOptions& options, const ItemTextSource& item_text,
                             PrepareReport* report_out) {
  PrepareReport report;
  report.read = static_cast<std::int64_t>(in.size());
  report.users_read = in.users.size();
  report.items_read = in.items.size();
  const std::vector<std::size_t> rows = surviving_rows(in, options, report);
  if (rows.empty())
    throw DataError(fmt::format(
        "{}: nothing is left: {} interactions read, {} after the rating and time filters, 0 after the k-core "
        "(users >= {}, items >= {})",
        options.name, report.read, report.after_filters, options.min_user_interactions, options.min_item_interactions));
  DatasetParts parts;
  parts.name = options.name;
  std::vector<ItemId> new_id(static_cast<std::size_t>(in.items.size()), -1);
  // Times that a kFile order leaves unsorted would not be times of a sequence any more.
  const bool keep_times = !in.time.empty() && options.order == Order::kTime;
  for (const auto& sequence : rows_by_user(in, rows, options.order)) {
    parts.raw_users.push_back(in.users[in.user[sequence.front()]]);
    for (const std::size_t row : sequence) {
      ItemId& id = new_id[static_cast<std::size_t>(in.item[row])];
      if (id < 0) {
        id = parts.num_items++;
        parts.raw_items.push_back(in.items[in.item[row]]);
      }
      parts.items.push_back(id);
      if (keep_times) parts.times.push_back(in.time[row]);
    }
    parts.offsets.push_back(static_cast<std::int64_t>(parts.items.size()));
  }
  const auto items = static_cast<std::size_t>(parts.num_items);
  parts.titles.resize(items);
  parts.categories.resize(items);
  std::vector<bool> described(items, false);
  if (item_text)
    item_text([&](std::string_view raw_id, ItemText text) {
      ++report.metadata_rows;
      const std::int32_t index = in.items.find(raw_id);
      const ItemId id = index < 0 ? -1 : new_id[static_cast<std::size_t>(index)];
      if (id < 0) return;
      const auto k = static_cast<std::size_t>(id);
      if (described[k]) {
        ++report.metadata_repeats;
        return;
      }
      described[k] = true;
      ++report.items_with_metadata;
      parts.titles[k] = std::move(text.title);
      parts.categories[k] = std::move(text.categories);
    });
  parts.provenance = {{"format", std::string(kFormats[static_cast<std::size_t>(options.format)].name)},
                      {"min_user_interactions", std::to_string(options.min_user_interactions)},
                      {"min_item_interactions", std::to_string(options.min_item_interactions)},
                      {"order", keep_times ? "time" : "file"}};
  if (options.min_rating) parts.provenance["min_rating"] = fmt::format("{}", *options.min_rating);
  if (options.time_from) parts.provenance["time_from"] = std::to_string(*options.time_from);
  if (options.time_to) parts.provenance["time_to"] = std::to_string(*options.time_to);
  if (report_out != nullptr) *report_out = report;
  return Dataset(std::move(parts));
}

Dataset prepare(const PrepareOptions& given, PrepareReport* report) {
  const PrepareOptions options = resolve(given);
  const Interactions interactions = read_interactions(options);
  ItemTextSource texts;
  if (!options.item_metadata.empty()) texts = [&](const ItemTextSink& sink) { read_items(options, sink); };
  return prepare_interactions(interactions, options, texts, report);
}

}  // namespace galrec::data
