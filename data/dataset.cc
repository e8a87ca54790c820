#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "data/atomic_file.h"
#include "data/readers/items_tsv.h"
#include "data/readers/line_reader.h"
#include "data/readers/s3rec.h"
#include "data/readers/text.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// `texts`, or `count` empty ones where it is empty; cleaned, so that no tab or line break reaches a file.
std::vector<std::string> texts_or_blank(std::vector<std::string> texts, std::size_t count, const char* what) {
  if (texts.empty()) texts.resize(count);
  GALREC_CHECK(texts.size() == count, "{} {} for {} items", texts.size(), what, count);
  for (std::string& text : texts) text = clean_text(text);
  return texts;
}

std::vector<std::string> ids_or_numbers(std::vector<std::string> ids, std::size_t count, const char* what) {
  if (ids.empty()) ids.resize(count);
  GALREC_CHECK(ids.size() == count, "{} raw ids for {} {}", ids.size(), count, what);
  for (std::size_t k = 0; k < count; ++k) {
    ids[k] = clean_text(ids[k]);
    if (ids[k].empty()) ids[k] = std::to_string(k + 1);
  }
  return ids;
}

/// The counts that `save` recorded: they tell a file that was cut or exchanged afterwards.
void check_counts(const fs::path& path, const json& recorded, const DatasetParts& parts) {
  const std::pair<const char*, std::size_t> counts[] = {{"users", parts.offsets.size() - 1},
                                                        {"items", static_cast<std::size_t>(parts.num_items)},
                                                        {"interactions", parts.items.size()}};
  for (const auto& [key, found] : counts) {
    const auto entry = recorded.find(key);
    if (entry == recorded.end()) continue;
    if (!entry->is_number_unsigned() || entry->get<std::size_t>() != found)
      throw DataError(fmt::format("{}: key \"{}\": got {}, expected {}, which the other files hold", path.string(), key,
                                  entry->dump(-1, ' ', true, json::error_handler_t::replace), found));
  }
}

void read_description(const fs::path& path, DatasetParts& parts) {
  json description;
  try {
    description = json::parse(read_file(path));
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{}: not valid JSON ({})", path.string(), error.what()));
  }
  if (!description.is_object())
    throw DataError(fmt::format("{}: got a JSON {}, expected an object", path.string(), description.type_name()));
  check_counts(path, description, parts);
  if (const auto entry = description.find("name"); entry != description.end()) {
    if (!entry->is_string()) throw DataError(fmt::format("{}: key \"name\": expected a string", path.string()));
    parts.name = clean_text(entry->get<std::string>());
  }
  if (const auto entry = description.find("provenance"); entry != description.end() && entry->is_object())
    for (const auto& [key, value] : entry->items())
      if (value.is_string()) parts.provenance[key] = value.get<std::string>();
}

std::string folder_name(const fs::path& folder) {
  const fs::path clean = fs::absolute(folder).lexically_normal();
  return clean.has_filename() ? clean.filename().string() : clean.parent_path().filename().string();
}

/// "1 2 3\n" lines of `value(k)` for each user's interactions, after the user's own number.
template <class Value>
std::string lines_of_users(const std::vector<std::int64_t>& offsets, Value value) {
  fmt::memory_buffer text;
  for (std::size_t u = 0; u + 1 < offsets.size(); ++u) {
    fmt::format_to(std::back_inserter(text), "{}", u + 1);
    for (std::int64_t k = offsets[u]; k < offsets[u + 1]; ++k)
      fmt::format_to(std::back_inserter(text), " {}", value(static_cast<std::size_t>(k)));
    text.push_back('\n');
  }
  return fmt::to_string(text);
}

/// Writes all files into a folder within `folder` first and moves them when every byte is on the disk: only renames are
/// left that could fail. `obsolete` is a file of an older data set that would not fit any more.
void replace_files(const fs::path& folder, const std::vector<std::pair<const char*, std::string>>& contents,
                   const char* obsolete) {
  std::error_code error;
  const bool created = fs::create_directories(folder, error);
  const fs::path staging = folder / ".saving";
  fs::remove_all(staging, error);  // of a save that was killed
  if (!error) fs::create_directory(staging, error);
  if (error) throw DataError(fmt::format("{}: cannot be written ({})", folder.string(), error.message()));
  const auto clean_up = [&] {
    fs::remove_all(staging, error);
    if (created) fs::remove(folder, error);  // only if it is empty
  };
  try {
    for (const auto& [file, text] : contents) write_file(staging / file, text);
    if (obsolete != nullptr) fs::remove(folder / obsolete);
    for (const auto& [file, text] : contents) fs::rename(staging / file, folder / file);
    sync_folder(folder);
    fs::remove(staging);
  } catch (const fs::filesystem_error& failure) {
    clean_up();
    throw DataError(fmt::format("{}: cannot be written ({})", folder.string(), failure.code().message()));
  } catch (...) {
    clean_up();
    throw;
  }
}

}  // namespace

Dataset::Dataset(DatasetParts parts) : name(std::move(parts.name)) {
  GALREC_CHECK(!parts.offsets.empty() && parts.offsets.front() == 0, "offsets must start with 0");
  GALREC_CHECK(std::is_sorted(parts.offsets.begin(), parts.offsets.end()), "offsets must not fall");
  GALREC_CHECK(parts.offsets.size() - 1 <= static_cast<std::size_t>(std::numeric_limits<UserId>::max()),
               "too many users");
  GALREC_CHECK(parts.offsets.back() == static_cast<std::int64_t>(parts.items.size()), "offsets end at {}, items at {}",
               parts.offsets.back(), parts.items.size());
  GALREC_CHECK(parts.times.empty() || parts.times.size() == parts.items.size(), "{} times for {} interactions",
               parts.times.size(), parts.items.size());
  const auto in_range = [&](ItemId item) { return item >= 0 && item < parts.num_items; };
  GALREC_CHECK(std::all_of(parts.items.begin(), parts.items.end(), in_range), "an item outside [0, {})",
               parts.num_items);
  offsets_ = std::move(parts.offsets);
  items_ = std::move(parts.items);
  times_ = std::move(parts.times);
  num_items_ = parts.num_items;
  const std::size_t items = index(num_items_);
  raw_users_ = ids_or_numbers(std::move(parts.raw_users), offsets_.size() - 1, "users");
  raw_items_ = ids_or_numbers(std::move(parts.raw_items), items, "items");
  titles_ = texts_or_blank(std::move(parts.titles), items, "titles");
  categories_ = texts_or_blank(std::move(parts.categories), items, "categories");
  provenance_ = std::move(parts.provenance);
}

Dataset Dataset::load(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    throw DataError(
        fmt::format("{}: no such folder, expected a data set (a folder with sequences.txt)", folder.string()));
  const auto exists = [&](const char* file) { return fs::exists(folder / file, ignored); };
  DatasetParts parts;
  parts.name = folder_name(folder);
  std::optional<std::int32_t> num_items;
  if (exists("items.tsv")) {
    LineReader reader(folder / "items.tsv");
    ItemTable table = read_items_tsv(reader);
    num_items = static_cast<std::int32_t>(table.titles.size());
    parts.raw_items = std::move(table.raw_ids);
    parts.titles = std::move(table.titles);
    parts.categories = std::move(table.categories);
  }
  LineReader reader(folder / "sequences.txt");
  Sequences sequences = read_s3rec(reader, num_items);
  if (exists("times.txt")) {
    LineReader times(folder / "times.txt");
    parts.times = read_s3rec_times(times, sequences);
  }
  if (exists("users.tsv")) {
    LineReader users(folder / "users.tsv");
    parts.raw_users = read_users_tsv(users);
    if (parts.raw_users.size() != sequences.offsets.size() - 1)
      users.fail(fmt::format("{} users", parts.raw_users.size()),
                 fmt::format("{} as in sequences.txt", sequences.offsets.size() - 1));
  }
  parts.offsets = std::move(sequences.offsets);
  parts.items = std::move(sequences.items);
  parts.num_items = sequences.num_items;
  if (exists("dataset.json")) read_description(folder / "dataset.json", parts);
  return Dataset(std::move(parts));
}

void Dataset::save(const fs::path& folder) const {
  for (UserId u = 0; u < num_users(); ++u)
    GALREC_CHECK(!sequence(u).empty(), "user {} has no items: the text format cannot hold that", u + 1);
  std::string items = "item_id\traw_id\ttitle\tcategories\n";
  for (std::size_t k = 0; k < titles_.size(); ++k)
    items += fmt::format("{}\t{}\t{}\t{}\n", k + 1, raw_items_[k], titles_[k], categories_[k]);
  std::string users = "user_id\traw_id\n";
  for (std::size_t k = 0; k < raw_users_.size(); ++k) users += fmt::format("{}\t{}\n", k + 1, raw_users_[k]);
  const json description = {{"format", "galrec-dataset"},
                            {"name", name},
                            {"users", num_users()},
                            {"items", num_items()},
                            {"interactions", num_interactions()},
                            {"provenance", provenance_}};

  std::vector<std::pair<const char*, std::string>> contents;
  contents.emplace_back("sequences.txt", lines_of_users(offsets_, [&](std::size_t k) { return items_[k] + 1; }));
  if (has_times())
    contents.emplace_back("times.txt", lines_of_users(offsets_, [&](std::size_t k) { return times_[k]; }));
  contents.emplace_back("items.tsv", std::move(items));
  contents.emplace_back("users.tsv", std::move(users));
  contents.emplace_back("dataset.json", description.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  replace_files(folder, contents, has_times() ? nullptr : "times.txt");
}

}  // namespace galrec::data
