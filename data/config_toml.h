#pragma once
// From TOML text to a flat list of assignments.

#include <string>
#include <vector>

#include "data/config_schema.h"

namespace galrec::data {

/// One assignment of a configuration file.
struct TomlAssignment {
  std::string key;  ///< dotted
  ConfigValue value;
  std::string where;  ///< file:line
};

/// Parses TOML 1.0; UsageError `name:line: ...` for bad syntax, a key given twice, a value of a kind that no key has
/// (dates, tables in arrays, mixed arrays), nesting or a file beyond all reason.
std::vector<TomlAssignment> parse_toml(const std::string& text, const std::string& name);

}  // namespace galrec::data
