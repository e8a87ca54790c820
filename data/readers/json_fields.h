#pragma once
// One JSON object a line, and typed access to its fields with errors that name file, line and key.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "data/readers/line_reader.h"

namespace galrec::data {

/// Parses `line` as a JSON object; fails through `reader` with the column otherwise.
nlohmann::json parse_json_line(const LineReader& reader, std::string_view line);

/// The raw id under `key`: a string without control characters, not empty.
const std::string& json_id(const LineReader& reader, const nlohmann::json& object, const char* key);

/// The number under `key`.
double json_number(const LineReader& reader, const nlohmann::json& object, const char* key);

/// The whole number under `key` (an integer, or a float without fraction below 2^53).
std::int64_t json_integer(const LineReader& reader, const nlohmann::json& object, const char* key);

/// The cleaned text under `key`; empty where the key is absent, null or no string (the sources are not strict there).
std::string json_text(const nlohmann::json& object, const char* key);

}  // namespace galrec::data
