#pragma once
// Names from files and users, as messages show them.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace galrec::data {

/// "a, b, c"
inline std::string join(std::span<const std::string> texts, std::string_view separator = ", ") {
  std::string joined;
  for (const std::string& text : texts) {
    if (!joined.empty()) joined += separator;
    joined += text;
  }
  return joined;
}

/// `text` fit to print: the endless is cut, control characters (which could steer a terminal) become '?'.
inline std::string shorten(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  std::string shown(text.substr(0, kLongest));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text.size() > kLongest ? shown + "..." : shown;
}

}  // namespace galrec::data
