#include "data/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <unordered_set>
#include <vector>

namespace galrec::data {
namespace {

bool has_repeat(std::span<const ItemId> sequence, std::vector<ItemId>& scratch) {
  scratch.assign(sequence.begin(), sequence.end());
  std::sort(scratch.begin(), scratch.end());
  return std::adjacent_find(scratch.begin(), scratch.end()) != scratch.end();
}

/// 198502 as 198,502.
std::string grouped(std::int64_t value) {
  const std::string digits = std::to_string(value);
  std::string out;
  for (std::size_t k = 0; k < digits.size(); ++k) {
    if (k > 0 && (digits.size() - k) % 3 == 0) out += ',';
    out += digits[k];
  }
  return out;
}

}  // namespace

Statistics compute_statistics(const Dataset& dataset) {
  Statistics s;
  s.name = dataset.name;
  s.users = dataset.num_users();
  s.items = dataset.num_items();
  s.interactions = dataset.num_interactions();
  s.has_times = dataset.has_times();
  const double cells = static_cast<double>(s.users) * static_cast<double>(s.items);
  s.density_percent = cells > 0 ? 100.0 * static_cast<double>(s.interactions) / cells : 0;
  s.mean_length = s.users > 0 ? static_cast<double>(s.interactions) / s.users : 0;

  std::vector<std::int64_t> counts(static_cast<std::size_t>(s.items), 0);
  std::vector<ItemId> scratch;
  for (UserId u = 0; u < s.users; ++u) {
    const auto sequence = dataset.sequence(u);
    const auto length = static_cast<std::int64_t>(sequence.size());
    s.min_length = u == 0 ? length : std::min(s.min_length, length);
    s.max_length = std::max(s.max_length, length);
    s.short_users += length < 3;
    s.one_item_users += length == 1;
    s.users_with_repeats += has_repeat(sequence, scratch);
    for (const ItemId item : sequence) ++counts[static_cast<std::size_t>(item)];
  }
  if (!counts.empty()) {
    s.min_item_count = *std::min_element(counts.begin(), counts.end());
    s.max_item_count = *std::max_element(counts.begin(), counts.end());
  }
  s.unseen_items = static_cast<std::int32_t>(std::count(counts.begin(), counts.end(), 0));
  std::unordered_set<std::string> titles;
  for (ItemId i = 0; i < s.items; ++i) {
    const std::string& title = dataset.item_title(i);
    s.titled_items += !title.empty();
    s.categorized_items += !dataset.item_categories(i).empty();
    if (!title.empty()) titles.insert(title);
  }
  s.distinct_titles = static_cast<std::int32_t>(titles.size());
  return s;
}

std::string to_markdown(std::span<const Statistics> columns) {
  using Cell = std::function<std::string(const Statistics&)>;
  const std::pair<const char*, Cell> rows[] = {
      {"users", [](const Statistics& s) { return grouped(s.users); }},
      {"items", [](const Statistics& s) { return grouped(s.items); }},
      {"interactions", [](const Statistics& s) { return grouped(s.interactions); }},
      {"density (%)", [](const Statistics& s) { return fmt::format("{:.4f}", s.density_percent); }},
      {"sequence length, mean (min to max)",
       [](const Statistics& s) { return fmt::format("{:.2f} ({} to {})", s.mean_length, s.min_length, s.max_length); }},
      {"users with fewer than 3 interactions (train only)", [](const Statistics& s) { return grouped(s.short_users); }},
      {"of these, with a single one", [](const Statistics& s) { return grouped(s.one_item_users); }},
      {"users with a repeated item", [](const Statistics& s) { return grouped(s.users_with_repeats); }},
      {"interactions per item, min to max",
       [](const Statistics& s) { return fmt::format("{} to {}", s.min_item_count, s.max_item_count); }},
      {"items without interactions", [](const Statistics& s) { return grouped(s.unseen_items); }},
      {"items with a title (distinct)",
       [](const Statistics& s) { return fmt::format("{} ({})", grouped(s.titled_items), grouped(s.distinct_titles)); }},
      {"items with categories", [](const Statistics& s) { return grouped(s.categorized_items); }},
      {"times", [](const Statistics& s) { return std::string(s.has_times ? "yes" : "no (file order)"); }}};
  std::string out = "| |";
  for (const Statistics& s : columns) out += fmt::format(" {} |", s.name);
  out += "\n|---|";
  for (std::size_t k = 0; k < columns.size(); ++k) out += "---|";
  out += "\n";
  for (const auto& [label, cell] : rows) {
    out += fmt::format("| {} |", label);
    for (const Statistics& s : columns) out += fmt::format(" {} |", cell(s));
    out += "\n";
  }
  return out;
}

}  // namespace galrec::data
