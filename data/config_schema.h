#pragma once
// Which configuration keys exist: name, type, default, range and help of each.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace galrec::data {

using ConfigValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<double>, std::vector<std::int64_t>>;

/// One key. The type of the default is the type of the key.
struct KeySpec {
  std::string name;  ///< dotted: "train.lr"; the part before the last dot is its group
  ConfigValue default_value;
  std::string help;                       ///< one line; becomes a comment in config.toml
  std::vector<std::string> choices = {};  ///< of a string key; empty: anything
  std::optional<double> min = {};         ///< of numbers and of each element of a list, inclusive
  std::optional<double> max = {};
};

/// "a number", "true or false", "a list of integers", ...: what a message expects.
std::string expected_type(const ConfigValue& value);

/// A value as TOML writes it: 0.1, "text", [1, 2].
std::string to_toml_text(const ConfigValue& value);

/// The known keys, in the order of declaration. CheckError for a key that is declared twice, is a group as well, or has
/// a default outside its own range.
class ConfigSchema {
 public:
  ConfigSchema& add(KeySpec key);
  /// A line of help for a group ("train"), printed above it. Optional.
  ConfigSchema& add_group(const std::string& name, const std::string& help);

  const KeySpec* find(const std::string& name) const;
  bool is_group(const std::string& name) const;
  const std::vector<KeySpec>& keys() const { return keys_; }
  std::vector<std::string> names() const;
  /// The help of a group, or "".
  const std::string& group_help(const std::string& group) const;

 private:
  std::vector<KeySpec> keys_;
  std::map<std::string, std::size_t> index_;
  std::map<std::string, std::string> groups_;
};

/// UsageError `where: name: got ..., expected ...` if `value` has another type than `key`, is out of its range, not
/// among its choices, not finite or not UTF-8. Returns the value; an integer for a number key becomes a double.
ConfigValue checked_value(const KeySpec& key, ConfigValue value, const std::string& where);

/// The group of a dotted name: "" for a name without dot.
std::string group_of(const std::string& name);

}  // namespace galrec::data
