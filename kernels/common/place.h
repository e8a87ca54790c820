#pragma once
// A place in the source, taken where a call is written: `void f(int x, Place where = Place::here())`.

#if !defined(__clang__)
#include <source_location>
#endif

namespace galrec {

struct Place {
  const char* file = "";
  unsigned line = 0;
  unsigned column = 0;

#if defined(__clang__)  // clang 14 does not know libstdc++'s std::source_location
  static constexpr Place here(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE(),
                              unsigned column = __builtin_COLUMN()) {
    return {file, line, column};
  }
#else
  static constexpr Place here(std::source_location at = std::source_location::current()) {
    return {at.file_name(), at.line(), at.column()};
  }
#endif
  /// Two calls on one line are two places.
  friend constexpr bool operator==(const Place& a, const Place& b) {
    return a.line == b.line && a.column == b.column && a.file == b.file;
  }
};

}  // namespace galrec
