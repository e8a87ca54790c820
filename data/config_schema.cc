#include "data/config_schema.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/message_text.h"
#include "data/nearest_name.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);  // the shortest that reads back to the same bits
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(const std::string& text) {
  std::string json = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (std::size_t at = json.find('\x7f'); at != std::string::npos; at = json.find('\x7f', at))
    json.replace(at, 1, "\\u007f");
  return json;
}

bool valid_utf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

std::string range_text(const KeySpec& key) {
  if (key.min && key.max) return fmt::format("between {} and {}", *key.min, *key.max);
  return key.min ? fmt::format("of at least {}", *key.min) : fmt::format("of at most {}", *key.max);
}

template <class T>
std::string list_text(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + to_toml_text(value);
  return text + "]";
}

}  // namespace

std::string expected_type(const ConfigValue& value) {
  constexpr const char* kTexts[] = {"true or false", "an integer",        "a number",
                                    "a string",      "a list of numbers", "a list of integers"};
  return kTexts[value.index()];
}

std::string to_toml_text(const ConfigValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>)
          return v ? "true" : "false";
        else if constexpr (std::is_same_v<T, std::int64_t>)
          return fmt::format("{}", v);
        else if constexpr (std::is_same_v<T, double>)
          return number_text(v);
        else if constexpr (std::is_same_v<T, std::string>)
          return quoted(v);
        else
          return list_text(v);
      },
      value);
}

std::string group_of(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::string() : name.substr(0, dot);
}

ConfigValue checked_value(const KeySpec& key, ConfigValue value, const std::string& where) {
  const ConfigValue& wanted = key.default_value;
  if (std::holds_alternative<double>(wanted) && std::holds_alternative<std::int64_t>(value))
    value = static_cast<double>(std::get<std::int64_t>(value));
  if (std::holds_alternative<std::vector<double>>(wanted) && std::holds_alternative<std::vector<std::int64_t>>(value)) {
    const auto& integers = std::get<std::vector<std::int64_t>>(value);
    value = std::vector<double>(integers.begin(), integers.end());
  }
  const auto fail = [&](const std::string& got, const std::string& expected) {
    throw UsageError(fmt::format("{}: {}: got {}, expected {}", where, key.name, got, expected));
  };
  // An empty list has no element type.
  if (std::holds_alternative<std::vector<std::int64_t>>(wanted) && std::holds_alternative<std::vector<double>>(value) &&
      std::get<std::vector<double>>(value).empty())
    value = std::vector<std::int64_t>{};
  if (value.index() != wanted.index()) {
    const bool string = std::holds_alternative<std::string>(value);
    fail((string ? "string " : "") + to_toml_text(value), expected_type(wanted));
  }

  const auto check_number = [&](double number, const std::string& text) {
    if (!std::isfinite(number)) fail(text, "a finite number");
    if ((key.min && number < *key.min) || (key.max && number > *key.max)) {
      const bool integer =
          std::holds_alternative<std::int64_t>(wanted) || std::holds_alternative<std::vector<std::int64_t>>(wanted);
      fail(text, fmt::format("{} {}", integer ? "an integer" : "a number", range_text(key)));
    }
  };
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    check_number(static_cast<double>(*integer), fmt::format("{}", *integer));
  if (const auto* number = std::get_if<double>(&value)) check_number(*number, number_text(*number));
  if (const auto* numbers = std::get_if<std::vector<double>>(&value))
    for (const double number : *numbers) check_number(number, number_text(number));
  if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&value))
    for (const std::int64_t integer : *integers) check_number(static_cast<double>(integer), fmt::format("{}", integer));
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (!valid_utf8(*text)) fail("bytes that are not UTF-8", "UTF-8 text");
    if (!key.choices.empty() && std::find(key.choices.begin(), key.choices.end(), *text) == key.choices.end())
      fail(quoted(*text), fmt::format("one of {}{}", join(key.choices), did_you_mean(*text, key.choices)));
  }
  return value;
}

ConfigSchema& ConfigSchema::add(KeySpec key) {
  GALREC_CHECK(!key.name.empty() && find(key.name) == nullptr, "key '{}' is declared twice", key.name);
  GALREC_CHECK(!is_group(key.name), "'{}' is a group and a key", key.name);
  for (std::string group = group_of(key.name); !group.empty(); group = group_of(group)) {
    GALREC_CHECK(find(group) == nullptr, "'{}' is a key and a group", group);
    groups_.emplace(group, "");
  }
  try {
    key.default_value = checked_value(key, key.default_value, "default");
  } catch (const UsageError& error) {
    GALREC_CHECK(false, "{}", error.what());
  }
  index_.emplace(key.name, keys_.size());
  keys_.push_back(std::move(key));
  return *this;
}

ConfigSchema& ConfigSchema::add_group(const std::string& name, const std::string& help) {
  GALREC_CHECK(find(name) == nullptr, "'{}' is a key and a group", name);
  groups_[name] = help;
  return *this;
}

const KeySpec* ConfigSchema::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &keys_[found->second];
}

bool ConfigSchema::is_group(const std::string& name) const {
  return groups_.contains(name);
}

std::vector<std::string> ConfigSchema::names() const {
  std::vector<std::string> names;
  for (const KeySpec& key : keys_) names.push_back(key.name);
  return names;
}

const std::string& ConfigSchema::group_help(const std::string& group) const {
  static const std::string kNone;
  const auto found = groups_.find(group);
  return found == groups_.end() ? kNone : found->second;
}

}  // namespace galrec::data
