#include "data/readers/amazon.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "data/readers/json_fields.h"
#include "data/readers/python_literal.h"
#include "data/readers/text.h"

namespace galrec::data {
namespace {

using nlohmann::json;

constexpr std::string_view kRow = "one object a line";

struct Keys {
  const char* user;
  const char* item;
  const char* rating;
  const char* time;
  const char* categories;
};

Keys keys_of(AmazonRelease release) {
  switch (release) {
    case AmazonRelease::k2014:
      return {"reviewerID", "asin", "overall", "unixReviewTime", "categories"};
    case AmazonRelease::k2018:
      return {"reviewerID", "asin", "overall", "unixReviewTime", "category"};
    case AmazonRelease::k2023:
      break;
  }
  return {"user_id", "parent_asin", "rating", "timestamp", "categories"};
}

/// Text of a source that wrote HTML; entities go first, since they may stand for white space.
std::string plain_text(const json& value) {
  return value.is_string() ? clean_text(decode_html_entities(value.get_ref<const std::string&>())) : std::string();
}

/// Joins the texts of a list; entries that are no text or empty are left out.
std::string join(const json& list, std::string_view separator) {
  std::string out;
  for (const json& entry : list) {
    const std::string text = plain_text(entry);
    if (text.empty()) continue;
    if (!out.empty()) out += separator;
    out += text;
  }
  return out;
}

/// One path ["Beauty", "Makeup"] or a list of paths.
std::string categories_text(const json& value) {
  if (!value.is_array()) return plain_text(value);
  if (value.empty() || !value.front().is_array()) return join(value, " > ");
  std::string out;
  for (const json& path : value) {
    const std::string text = path.is_array() ? join(path, " > ") : plain_text(path);
    if (text.empty()) continue;
    if (!out.empty()) out += "; ";
    out += text;
  }
  return out;
}

}  // namespace

Interactions read_amazon_reviews(LineReader& reader, AmazonRelease release) {
  const Keys keys = keys_of(release);
  Interactions out;
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    const json review = parse_json_line(reader, line);
    const std::string& user = json_id(reader, review, keys.user);
    out.add(user, json_id(reader, review, keys.item));
    out.rating.push_back(json_number(reader, review, keys.rating));
    out.time.push_back(json_integer(reader, review, keys.time));
  }
  if (out.size() == 0) reader.fail("no reviews", kRow);
  return out;
}

void read_amazon_items(LineReader& reader, AmazonRelease release, const ItemTextSink& sink) {
  const Keys keys = keys_of(release);
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    const json item =
        release == AmazonRelease::k2014 ? parse_python_literal(reader, line) : parse_json_line(reader, line);
    if (!item.is_object()) reader.fail("a value that is no dict", "one dict a line");
    const std::string& id = json_id(reader, item, keys.item);
    ItemText text;
    if (const auto title = item.find("title"); title != item.end()) text.title = plain_text(*title);
    if (const auto list = item.find(keys.categories); list != item.end()) text.categories = categories_text(*list);
    sink(id, std::move(text));
  }
}

}  // namespace galrec::data
