#pragma once
// The configuration of a run: defaults, then preset, files and command line, each over the one before.

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "data/config_schema.h"

namespace galrec::data {

/// Values for the keys of a schema. Whatever is loaded later wins; callers load in the order defaults, preset, file,
/// command line. Every user's mistake is a UsageError that starts with the place: `file:line:` or
/// `command line: key=value:`; unknown keys name their nearest known neighbour.
class Config {
 public:
  explicit Config(const ConfigSchema& schema);

  /// A TOML file. Tables and dotted keys are the groups.
  void load_toml(const std::filesystem::path& path);
  /// TOML text; `name` stands for the file in messages and sources ("preset nano").
  void load_toml_text(const std::string& text, const std::string& name);
  /// "key=value" from the command line; lists as 1,2,3 or [1,2,3]; strings without quotes. Each key once.
  void apply_override(const std::string& assignment);
  /// One value; `where` starts the error message and becomes the source.
  void set(const std::string& key, ConfigValue value, const std::string& where);

  /// CheckError where the key does not exist or has another type.
  bool get_bool(const std::string& key) const;
  std::int64_t get_int(const std::string& key) const;
  double get_double(const std::string& key) const;
  const std::string& get_string(const std::string& key) const;
  const std::vector<double>& get_doubles(const std::string& key) const;
  const std::vector<std::int64_t>& get_ints(const std::string& key) const;
  const ConfigValue& get(const std::string& key) const;

  /// "default", or where the value came from: "x.toml:3", "command line: train.lr=1".
  const std::string& source_of(const std::string& key) const;
  bool is_default(const std::string& key) const { return source_of(key) == "default"; }

  /// All keys with their values, sorted by group, with the help as comments; load_toml() gives the same Config back.
  std::string to_toml() const;
  /// One flat object: "train.lr": 0.1.
  nlohmann::ordered_json to_json() const;

  /// Keys with different values, without those in `ignored` (a name, or a group with all its keys), in schema order.
  std::vector<std::string> differing_keys(const Config& other, std::span<const std::string> ignored = {}) const;
  bool equal_except(const Config& other, std::span<const std::string> ignored = {}) const {
    return differing_keys(other, ignored).empty();
  }

  const ConfigSchema& schema() const { return schema_; }

 private:
  struct Entry {
    ConfigValue value;
    std::string source;
    bool overridden = false;
  };
  const KeySpec& require_key(const std::string& key, const std::string& where) const;
  const Entry& entry(const std::string& key) const;

  ConfigSchema schema_;
  std::map<std::string, Entry> entries_;
};

}  // namespace galrec::data
