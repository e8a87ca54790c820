#include "data/readers/recbole.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "data/readers/text.h"

namespace galrec::data {
namespace {

constexpr std::array<std::string_view, 4> kTypes{"token", "token_seq", "float", "float_seq"};

struct Column {
  std::string name;
  std::string_view type;  // one of kTypes
};

std::vector<Column> read_header(LineReader& reader) {
  std::string_view line;
  if (!reader.next(line)) reader.fail("an empty file", "a header such as user_id:token<TAB>item_id:token");
  reader.require_utf8(line);
  std::vector<std::string_view> fields;
  split_fields(line, '\t', fields);
  std::vector<Column> columns;
  for (const std::string_view field : fields) {
    const std::size_t colon = field.rfind(':');
    const std::string_view type = colon == std::string_view::npos ? std::string_view() : field.substr(colon + 1);
    const auto known = std::find(kTypes.begin(), kTypes.end(), type);
    if (known == kTypes.end() || colon == 0)
      reader.fail(fmt::format("the column {}", quote(field)),
                  "name:type with the type token, token_seq, float or float_seq");
    const std::string_view name = field.substr(0, colon);
    if (std::any_of(columns.begin(), columns.end(), [&](const Column& column) { return column.name == name; }))
      reader.fail(fmt::format("the column {} twice", quote(name)), "each column once");
    columns.push_back({std::string(name), *known});
  }
  return columns;
}

std::optional<std::size_t> find_column(const std::vector<Column>& columns, std::string_view name) {
  for (std::size_t k = 0; k < columns.size(); ++k)
    if (columns[k].name == name) return k;
  return std::nullopt;
}

std::optional<std::size_t> find_typed(const LineReader& reader, const std::vector<Column>& columns,
                                      const std::string& name, std::string_view type, bool required) {
  const auto column = find_column(columns, name);
  if (!column && required) reader.fail("a header without that column", fmt::format("a column {}:{}", name, type));
  if (column && columns[*column].type != type)
    reader.fail(fmt::format("the column {}:{}", name, columns[*column].type), fmt::format("{}:{}", name, type));
  return column;
}

/// The next row with as many fields as the header; false at the end of the file. Blank lines may only end the file.
bool next_row(LineReader& reader, std::size_t width, std::vector<std::string_view>& fields) {
  std::string_view line;
  if (!reader.next_row(line, "as many tab-separated fields as the header")) return false;
  reader.require_utf8(line);
  split_fields(line, '\t', fields);
  if (fields.size() != width)
    reader.fail(fmt::format("{} tab-separated fields", fields.size()), fmt::format("{} as in the header", width));
  return true;
}

/// RecBole writes times as floats (881250949, 881250949.0, 8.8e8): whole seconds or milliseconds all the same.
std::int64_t whole_time(const LineReader& reader, std::string_view token) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: above it a double no longer tells seconds apart
  const double time = reader.number(token, "a timestamp");
  if (time != std::floor(time) || std::abs(time) > kExact)
    reader.fail(quote(token), "a timestamp, a whole number of at most 2^53");
  return static_cast<std::int64_t>(time);
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::optional<std::size_t> find_title(const std::vector<Column>& columns) {
  for (std::size_t k = 0; k < columns.size(); ++k) {
    const std::string_view name = columns[k].name;
    const bool text = columns[k].type == "token" || columns[k].type == "token_seq";
    if (text && (name == "title" || name == "name" || ends_with(name, "_title") || ends_with(name, "_name"))) return k;
  }
  return std::nullopt;
}

std::optional<std::size_t> find_categories(const std::vector<Column>& columns) {
  for (const std::string_view name : {"categories", "category", "genres", "genre", "class"})
    if (const auto column = find_column(columns, name)) return column;
  return std::nullopt;
}

std::string join_tokens(std::string_view text) {
  std::string out;
  for (std::string_view token = next_token(text); !token.empty(); token = next_token(text)) {
    if (!out.empty()) out += "; ";
    out += token;
  }
  return out;
}

}  // namespace

Interactions read_recbole_interactions(LineReader& reader, const RecboleFields& names) {
  const std::vector<Column> columns = read_header(reader);
  const auto user = find_typed(reader, columns, names.user, "token", true);
  const auto item = find_typed(reader, columns, names.item, "token", true);
  const auto rating = find_typed(reader, columns, names.rating, "float", false);
  const auto time = find_typed(reader, columns, names.timestamp, "float", false);
  Interactions out;
  std::vector<std::string_view> fields;
  while (next_row(reader, columns.size(), fields)) {
    reader.require_id(fields[*user], names.user);
    reader.require_id(fields[*item], names.item);
    out.add(fields[*user], fields[*item]);
    if (rating) out.rating.push_back(reader.number(fields[*rating], "a rating"));
    if (time) out.time.push_back(whole_time(reader, fields[*time]));
  }
  if (out.size() == 0) reader.fail("a header without rows", "one row for each interaction");
  return out;
}

void read_recbole_items(LineReader& reader, const ItemTextSink& sink, const RecboleFields& names) {
  const std::vector<Column> columns = read_header(reader);
  const auto item = find_typed(reader, columns, names.item, "token", true);
  const auto title = find_title(columns);
  const auto categories = find_categories(columns);
  const bool sequence = categories && columns[*categories].type == "token_seq";
  std::vector<std::string_view> fields;
  while (next_row(reader, columns.size(), fields)) {
    reader.require_id(fields[*item], names.item);
    ItemText text;
    if (title) text.title = clean_text(fields[*title]);
    if (categories)
      text.categories = clean_text(sequence ? join_tokens(fields[*categories]) : std::string(fields[*categories]));
    sink(fields[*item], std::move(text));
  }
}

}  // namespace galrec::data
