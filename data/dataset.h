#pragma once
// Users' interaction sequences, oldest first, with the texts of the items: what everything else trains and ranks on.

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/interactions.h"

namespace galrec::data {

/// What a Dataset is made of. User u owns items[offsets[u] .. offsets[u + 1]); `times` is empty or as long as `items`.
/// The texts are empty or one a user or item; empty raw ids mean the 1-based id.
struct DatasetParts {
  std::string name;
  std::vector<std::int64_t> offsets{0};
  std::vector<ItemId> items;
  std::vector<std::int64_t> times;
  std::int32_t num_items = 0;
  std::vector<std::string> raw_users;
  std::vector<std::string> raw_items;
  std::vector<std::string> titles;
  std::vector<std::string> categories;
  std::map<std::string, std::string> provenance;  ///< how the data were made, kept in dataset.json
};

class Dataset {
 public:
  std::string name;

  Dataset() = default;
  /// Checks the parts (CheckError), cleans the texts and fills the raw ids that are missing.
  explicit Dataset(DatasetParts parts);

  std::int32_t num_users() const { return static_cast<std::int32_t>(offsets_.size()) - 1; }
  std::int32_t num_items() const { return num_items_; }
  std::int64_t num_interactions() const { return offsets_.back(); }

  /// Items of the user, oldest first; may be empty or short (see Split).
  std::span<const ItemId> sequence(UserId u) const { return slice(items_, u); }
  /// Times of the same interactions, never falling; empty when the source has no times.
  std::span<const std::int64_t> times(UserId u) const {
    return times_.empty() ? std::span<const std::int64_t>() : slice(times_, u);
  }
  bool has_times() const { return !times_.empty(); }

  const std::string& item_title(ItemId i) const { return titles_[index(i)]; }           ///< "" where unknown
  const std::string& item_categories(ItemId i) const { return categories_[index(i)]; }  ///< "" where unknown
  const std::string& raw_user(UserId u) const { return raw_users_[index(u)]; }
  const std::string& raw_item(ItemId i) const { return raw_items_[index(i)]; }
  const std::map<std::string, std::string>& provenance() const { return provenance_; }

  /// Reads `folder`: sequences.txt (S3-Rec's text) and, where they exist, items.tsv, users.tsv, times.txt,
  /// dataset.json. Throws DataError with file and line; also where the files disagree about the number of users or
  /// items.
  static Dataset load(const std::filesystem::path& folder);

  /// Writes the same files. Every file is complete under a temporary name before the first one takes its place, so a
  /// full disk leaves the old data set. DataError where it cannot be written.
  void save(const std::filesystem::path& folder) const;

 private:
  static std::size_t index(std::int32_t id) { return static_cast<std::size_t>(id); }
  template <class T>
  std::span<const T> slice(const std::vector<T>& all, UserId u) const {
    const auto first = static_cast<std::size_t>(offsets_[index(u)]);
    return std::span<const T>(all).subspan(first, static_cast<std::size_t>(offsets_[index(u) + 1]) - first);
  }

  std::vector<std::int64_t> offsets_{0};
  std::vector<ItemId> items_;
  std::vector<std::int64_t> times_;
  std::int32_t num_items_ = 0;
  std::vector<std::string> raw_users_;
  std::vector<std::string> raw_items_;
  std::vector<std::string> titles_;
  std::vector<std::string> categories_;
  std::map<std::string, std::string> provenance_;
};

}  // namespace galrec::data
