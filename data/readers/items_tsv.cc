#include "data/readers/items_tsv.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string_view>

#include "data/readers/text.h"

namespace galrec::data {
namespace {

using Row = std::vector<std::string_view>;

/// Checks the header and the running id of every row; `on_row` gets the fields of the wanted columns, empty where the
/// file does not have one.
void read_table(LineReader& reader, std::string_view id_column, const Row& wanted,
                const std::function<void(const Row&)>& on_row) {
  std::string_view line;
  const auto expected = fmt::format("a header line that starts with {}", id_column);
  if (!reader.next(line)) reader.fail("an empty file", expected);
  Row fields;
  split_fields(line, '\t', fields);
  if (fields.front() != id_column) reader.fail(fmt::format("the header {}", quote(line)), expected);
  const std::size_t width = fields.size();
  std::vector<std::size_t> columns;
  for (const std::string_view name : wanted)
    columns.push_back(static_cast<std::size_t>(std::find(fields.begin(), fields.end(), name) - fields.begin()));

  Row picked(wanted.size());
  for (std::int64_t turn = 1; reader.next(line); ++turn) {
    reader.require_utf8(line);
    split_fields(line, '\t', fields);
    if (fields.size() != width)
      reader.fail(fmt::format("{} tab-separated fields", fields.size()), fmt::format("{} as in the header", width));
    const std::int64_t id = reader.integer(fields.front(), 1, std::numeric_limits<std::int32_t>::max(), id_column);
    if (id != turn)
      reader.fail(fmt::format("{} {}", id_column, id), fmt::format("{}: one row for each id, in order", turn));
    for (std::size_t k = 0; k < columns.size(); ++k)
      picked[k] = columns[k] < width ? fields[columns[k]] : std::string_view();
    on_row(picked);
  }
}

}  // namespace

ItemTable read_items_tsv(LineReader& reader) {
  ItemTable table;
  read_table(reader, "item_id", {"raw_id", "title", "categories"}, [&](const Row& row) {
    table.raw_ids.emplace_back(row[0]);
    table.titles.push_back(clean_text(row[1]));
    table.categories.push_back(clean_text(row[2]));
  });
  if (table.titles.empty()) reader.fail("no rows", "one row for each item");
  return table;
}

std::vector<std::string> read_users_tsv(LineReader& reader) {
  std::vector<std::string> raw_ids;
  read_table(reader, "user_id", {"raw_id"}, [&](const Row& row) { raw_ids.emplace_back(row[0]); });
  if (raw_ids.empty()) reader.fail("no rows", "one row for each user");
  return raw_ids;
}

}  // namespace galrec::data
