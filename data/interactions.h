#pragma once
// What a reader returns: raw interactions in file order, before any filter or numbering.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace galrec::data {

/// Internal ids. They are 0-based everywhere in memory; files count from 1.
using UserId = std::int32_t;
using ItemId = std::int32_t;

/// Raw names (user or item ids of the source) numbered by first appearance. Move-only: the list points into the map.
class NameTable {
 public:
  NameTable() = default;
  NameTable(NameTable&&) = default;
  NameTable& operator=(NameTable&&) = default;
  NameTable(const NameTable&) = delete;
  NameTable& operator=(const NameTable&) = delete;

  /// The index of `name`, which is added where it is new.
  std::int32_t intern(std::string_view name) {
    if (const auto found = index_.find(name); found != index_.end()) return found->second;
    const auto entry = index_.emplace(std::string(name), size()).first;
    names_.push_back(&entry->first);
    return entry->second;
  }

  /// The index of `name`, -1 where it is unknown.
  std::int32_t find(std::string_view name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? -1 : found->second;
  }

  const std::string& operator[](std::int32_t index) const { return *names_[static_cast<std::size_t>(index)]; }
  std::int32_t size() const { return static_cast<std::int32_t>(names_.size()); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  // Nodes of an unordered_map keep their address, also when the map is moved.
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> index_;
  std::vector<const std::string*> names_;
};

/// Interactions of a source in file order; `user[k]` and `item[k]` index the name tables.
struct Interactions {
  NameTable users;
  NameTable items;
  std::vector<std::int32_t> user;
  std::vector<std::int32_t> item;
  std::vector<std::int64_t> time;  ///< empty, or one a row, in the unit of the source: compared, never interpreted
  std::vector<double> rating;      ///< empty, or one a row

  std::size_t size() const { return user.size(); }
  void add(std::string_view user_name, std::string_view item_name) {
    user.push_back(users.intern(user_name));
    item.push_back(items.intern(item_name));
  }
};

/// What the metadata of a source says about one item. Categories are joined by "; ", levels of a path by " > ".
struct ItemText {
  std::string title;
  std::string categories;
};

/// Gets the text of each item of a metadata file, in file order, under its raw id.
using ItemTextSink = std::function<void(std::string_view raw_id, ItemText text)>;

}  // namespace galrec::data
