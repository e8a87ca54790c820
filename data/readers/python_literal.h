#pragma once
// Python literals, as Amazon's metadata of 2014 writes one a line: {'asin': '0001', 'title': "Kid's", 'price': 3.5}.

#include <nlohmann/json.hpp>
#include <string_view>

#include "data/readers/line_reader.h"

namespace galrec::data {

/// Parses one literal (dict with string keys, list, tuple, str, u'' and b'' strings, number, True, False, None) into
/// the JSON value that means the same. A string of \xhh escapes that form UTF-8 is taken as those bytes, any other as
/// code points. Fails through `reader` with the column; nesting is limited to 64 levels.
nlohmann::json parse_python_literal(const LineReader& reader, std::string_view text);

}  // namespace galrec::data
