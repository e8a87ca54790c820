#include "data/readers/yelp.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "data/readers/json_fields.h"
#include "data/readers/text.h"

namespace galrec::data {
namespace {

using nlohmann::json;

constexpr std::string_view kRow = "one object a line";

std::string categories_text(const json& business) {
  const auto found = business.find("categories");
  if (found == business.end()) return {};
  std::vector<std::string> names;
  if (found->is_string()) {
    std::vector<std::string_view> fields;
    split_fields(found->get_ref<const std::string&>(), ',', fields);
    for (const std::string_view field : fields) names.push_back(clean_text(field));
  } else if (found->is_array()) {
    for (const json& name : *found)
      if (name.is_string()) names.push_back(clean_text(name.get_ref<const std::string&>()));
  }
  std::string out;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    if (!out.empty()) out += "; ";
    out += name;
  }
  return out;
}

}  // namespace

std::int64_t parse_date(const LineReader& reader, std::string_view date) {
  constexpr std::string_view kPattern = "dddd-dd-dd dd:dd:dd";
  bool good = date.size() == 10 || date.size() == kPattern.size();
  for (std::size_t k = 0; good && k < date.size(); ++k)
    good =
        kPattern[k] == 'd' ? date[k] >= '0' && date[k] <= '9' : date[k] == kPattern[k] || (k == 10 && date[k] == 'T');
  const auto digits = [&](std::size_t at, std::size_t count) {
    int value = 0;
    for (std::size_t k = at; k < at + count; ++k) value = value * 10 + (date[k] - '0');
    return value;
  };
  std::chrono::year_month_day day{};
  int hour = 0, minute = 0, second = 0;
  if (good) {
    day = std::chrono::year(digits(0, 4)) / digits(5, 2) / digits(8, 2);
    if (date.size() > 10) {
      hour = digits(11, 2);
      minute = digits(14, 2);
      second = digits(17, 2);
    }
    good = day.ok() && hour < 24 && minute < 60 && second <= 60;
  }
  if (!good) reader.fail(fmt::format("the date {}", quote(date)), "YYYY-MM-DD or YYYY-MM-DD hh:mm:ss");
  const std::int64_t days = std::chrono::sys_days(day).time_since_epoch().count();
  return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

Interactions read_yelp_reviews(LineReader& reader) {
  Interactions out;
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    const json review = parse_json_line(reader, line);
    const std::string& user = json_id(reader, review, "user_id");
    out.add(user, json_id(reader, review, "business_id"));
    out.rating.push_back(json_number(reader, review, "stars"));
    out.time.push_back(parse_date(reader, json_id(reader, review, "date")));
  }
  if (out.size() == 0) reader.fail("no reviews", kRow);
  return out;
}

void read_yelp_businesses(LineReader& reader, const ItemTextSink& sink) {
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    const json business = parse_json_line(reader, line);
    const std::string& id = json_id(reader, business, "business_id");
    sink(id, ItemText{json_text(business, "name"), categories_text(business)});
  }
}

}  // namespace galrec::data
