#include "data/config.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "data/atomic_file.h"
#include "data/config_toml.h"
#include "data/message_text.h"
#include "data/nearest_name.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

template <class Number>
bool parse_number(std::string_view text, Number& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <class Number>
bool parse_list(std::string_view text, std::vector<Number>& values) {
  text = trim(text);
  if (text.starts_with('[') && text.ends_with(']')) text = trim(text.substr(1, text.size() - 2));
  if (text.empty()) return true;
  for (;;) {
    const std::size_t comma = text.find(',');
    Number value{};
    if (!parse_number(trim(text.substr(0, comma)), value)) return false;
    values.push_back(value);
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

// Text of the command line as the type of the key; a text of another type stays a string, which the check refuses.
ConfigValue parse_as(const ConfigValue& type, const std::string& text) {
  std::int64_t integer = 0;
  double number = 0;
  std::vector<double> numbers;
  std::vector<std::int64_t> integers;
  if (std::holds_alternative<bool>(type) && (text == "true" || text == "false")) return text == "true";
  if (std::holds_alternative<std::int64_t>(type) && parse_number(text, integer)) return integer;
  if (std::holds_alternative<double>(type) && parse_number(text, number)) return number;
  if (std::holds_alternative<std::vector<double>>(type) && parse_list(text, numbers)) return numbers;
  if (std::holds_alternative<std::vector<std::int64_t>>(type) && parse_list(text, integers)) return integers;
  return text;
}

bool is_ignored(const std::string& key, std::span<const std::string> ignored) {
  return std::any_of(ignored.begin(), ignored.end(), [&](const std::string& name) {
    return key == name || (key.starts_with(name) && key.size() > name.size() && key[name.size()] == '.');
  });
}

}  // namespace

Config::Config(const ConfigSchema& schema) : schema_(schema) {
  for (const KeySpec& key : schema_.keys()) entries_.emplace(key.name, Entry{key.default_value, "default"});
}

void Config::load_toml(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw UsageError(fmt::format("{}: no such configuration file", path.string()));
  load_toml_text(read_file(path), path.string());
}

void Config::load_toml_text(const std::string& text, const std::string& name) {
  for (TomlAssignment& assignment : parse_toml(text, name))
    set(assignment.key, std::move(assignment.value), assignment.where);
}

void Config::apply_override(const std::string& assignment) {
  const std::string where = "command line: " + assignment;
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) throw UsageError(where + ": expected key=value");
  const std::string key = assignment.substr(0, equals);
  const KeySpec& spec = require_key(key, where);
  Entry& entry = entries_.at(key);
  if (entry.overridden) throw UsageError(fmt::format("{}: '{}' is given twice; first: {}", where, key, entry.source));
  set(key, parse_as(spec.default_value, assignment.substr(equals + 1)), where);
  entry.overridden = true;
}

const KeySpec& Config::require_key(const std::string& key, const std::string& where) const {
  if (const KeySpec* spec = schema_.find(key)) return *spec;
  if (schema_.is_group(key)) throw UsageError(fmt::format("{}: '{}' is a group of keys, not a key", where, key));
  throw UsageError(fmt::format("{}: unknown key '{}'{}", where, key, did_you_mean(key, schema_.names())));
}

void Config::set(const std::string& key, ConfigValue value, const std::string& where) {
  const KeySpec& spec = require_key(key, where);
  Entry& entry = entries_.at(key);
  entry.value = checked_value(spec, std::move(value), where);
  entry.source = where;
}

const Config::Entry& Config::entry(const std::string& key) const {
  const auto found = entries_.find(key);
  GALREC_CHECK(found != entries_.end(), "no key '{}' in the schema", key);
  return found->second;
}

const ConfigValue& Config::get(const std::string& key) const {
  return entry(key).value;
}
const std::string& Config::source_of(const std::string& key) const {
  return entry(key).source;
}

namespace {

template <class T>
const T& typed(const ConfigValue& value, const std::string& key) {
  const T* typed = std::get_if<T>(&value);
  GALREC_CHECK(typed != nullptr, "key '{}' is {}", key, expected_type(value));
  return *typed;
}

}  // namespace

bool Config::get_bool(const std::string& key) const {
  return typed<bool>(get(key), key);
}
std::int64_t Config::get_int(const std::string& key) const {
  return typed<std::int64_t>(get(key), key);
}
double Config::get_double(const std::string& key) const {
  return typed<double>(get(key), key);
}
const std::string& Config::get_string(const std::string& key) const {
  return typed<std::string>(get(key), key);
}
const std::vector<double>& Config::get_doubles(const std::string& key) const {
  return typed<std::vector<double>>(get(key), key);
}
const std::vector<std::int64_t>& Config::get_ints(const std::string& key) const {
  return typed<std::vector<std::int64_t>>(get(key), key);
}

std::string Config::to_toml() const {
  std::map<std::string, std::string> groups;  // "" (keys without a group) sorts first, as TOML demands
  for (const KeySpec& key : schema_.keys()) {
    std::string& body = groups[group_of(key.name)];
    std::string help = key.help;
    if (!key.choices.empty()) {
      help += (help.empty() ? "" : ": ") + join(key.choices, " | ");
    }
    if (!help.empty()) body += "# " + help + "\n";
    body += fmt::format("{} = {}\n", key.name.substr(key.name.rfind('.') + 1), to_toml_text(get(key.name)));
  }
  std::string text;
  for (const auto& [group, body] : groups) {
    if (!text.empty()) text += "\n";
    if (!schema_.group_help(group).empty()) text += "# " + schema_.group_help(group) + "\n";
    if (!group.empty()) text += "[" + group + "]\n";
    text += body;
  }
  return text;
}

nlohmann::ordered_json Config::to_json() const {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const KeySpec& key : schema_.keys())
    std::visit([&](const auto& value) { object[key.name] = value; }, get(key.name));
  return object;
}

std::vector<std::string> Config::differing_keys(const Config& other, std::span<const std::string> ignored) const {
  std::vector<std::string> names;
  for (const KeySpec& key : schema_.keys())
    if (!is_ignored(key.name, ignored) && get(key.name) != other.get(key.name)) names.push_back(key.name);
  return names;
}

}  // namespace galrec::data
