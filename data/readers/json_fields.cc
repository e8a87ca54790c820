#include "data/readers/json_fields.h"

#include <fmt/format.h>

#include <cmath>

#include "data/readers/text.h"

namespace galrec::data {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  if (value.is_string()) return quote(value.get_ref<const std::string&>());
  return value.is_structured() ? fmt::format("an {}", value.type_name()) : value.dump();
}

const json& require(const LineReader& reader, const json& object, const char* key, std::string_view expected) {
  const auto found = object.find(key);
  if (found == object.end()) reader.fail(fmt::format("no key \"{}\"", key), fmt::format("\"{}\", {}", key, expected));
  return *found;
}

[[noreturn]] void wrong_type(const LineReader& reader, const json& value, const char* key, std::string_view expected) {
  reader.fail(fmt::format("\"{}\": {}", key, shown(value)), expected);
}

}  // namespace

json parse_json_line(const LineReader& reader, std::string_view line) {
  json value;
  try {
    value = json::parse(line);
  } catch (const json::parse_error& error) {
    const bool cut = error.byte > line.size();
    const std::string place =
        cut ? "a line that ends within a JSON value"
            : fmt::format("{} in column {}", quote(line.substr(error.byte > 0 ? error.byte - 1 : 0, 12)), error.byte);
    reader.fail(place, "one JSON object a line");
  } catch (const json::out_of_range& error) {  // a number beyond double
    reader.fail(fmt::format("a number out of range ({})", quote(line)), "one JSON object a line");
  }
  if (!value.is_object()) reader.fail(fmt::format("a JSON {}", value.type_name()), "one JSON object a line");
  return value;
}

const std::string& json_id(const LineReader& reader, const json& object, const char* key) {
  const json& value = require(reader, object, key, "a string");
  if (!value.is_string()) wrong_type(reader, value, key, "a string");
  const auto& id = value.get_ref<const std::string&>();
  reader.require_id(id, key);
  return id;
}

double json_number(const LineReader& reader, const json& object, const char* key) {
  const json& value = require(reader, object, key, "a number");
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!std::isfinite(number)) wrong_type(reader, value, key, "a number");
  return number;
}

std::int64_t json_integer(const LineReader& reader, const json& object, const char* key) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  const json& value = require(reader, object, key, "a whole number");
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    wrong_type(reader, value, key, "a whole number below 2^63");
  if (value.is_number_integer()) return value.get<std::int64_t>();
  const double number = value.is_number_float() ? value.get<double>() : 0.5;
  if (number != std::floor(number) || std::abs(number) > kExact) wrong_type(reader, value, key, "a whole number");
  return static_cast<std::int64_t>(number);
}

std::string json_text(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  return clean_text(found->get_ref<const std::string&>());
}

}  // namespace galrec::data
