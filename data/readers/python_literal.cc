#include "data/readers/python_literal.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <utility>

#include "data/readers/text.h"

namespace galrec::data {
namespace {

using nlohmann::json;

class Parser {
 public:
  Parser(const LineReader& reader, std::string_view text) : reader_(reader), text_(text) {}

  json parse() {
    json value = parse_value(0);
    skip_blanks();
    if (at_ != text_.size()) fail("the end of the line");
    return value;
  }

 private:
  static constexpr int kDeepest = 64;

  [[noreturn]] void fail(std::string_view expected) const {
    const bool end = at_ >= text_.size();
    reader_.fail(end ? fmt::format("the end of the line in column {}", at_ + 1)
                     : fmt::format("{} in column {}", quote(text_.substr(at_, 12)), at_ + 1),
                 fmt::format("{} (a Python literal)", expected));
  }

  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool take(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  json parse_value(int depth) {
    if (depth > kDeepest) fail("at most 64 levels of nesting");
    skip_blanks();
    const char c = peek();
    if (c == '{') return parse_dict(depth);
    if (c == '[') return parse_list(depth, ']');
    if (c == '(') return parse_list(depth, ')');
    if (c == '\'' || c == '"') return parse_string();
    if ((c == 'u' || c == 'b') && at_ + 1 < text_.size() && (text_[at_ + 1] == '\'' || text_[at_ + 1] == '"')) {
      ++at_;
      return parse_string();
    }
    if (take("True")) return true;
    if (take("False")) return false;
    if (take("None")) return nullptr;
    return parse_number();
  }

  json parse_dict(int depth) {
    json object = json::object();
    ++at_;
    for (skip_blanks(); !take("}"); skip_blanks()) {
      json key = parse_value(depth + 1);
      if (!key.is_string()) fail("a string as the key before this");
      skip_blanks();
      if (!take(":")) fail("':'");
      object[key.get_ref<const std::string&>()] = parse_value(depth + 1);
      skip_blanks();
      if (!take(",") && peek() != '}') fail("',' or '}'");
    }
    return object;
  }

  json parse_list(int depth, char close) {
    json array = json::array();
    ++at_;
    for (skip_blanks(); !take(std::string_view(&close, 1)); skip_blanks()) {
      array.push_back(parse_value(depth + 1));
      skip_blanks();
      if (!take(",") && peek() != close) fail(fmt::format("',' or '{}'", close));
    }
    return array;
  }

  json parse_number() {
    const char* first = text_.data() + at_;
    const char* last = text_.data() + text_.size();
    std::int64_t whole = 0;
    const auto as_whole = std::from_chars(first, last, whole);
    double real = 0;
    const auto as_real = std::from_chars(first, last, real);
    if (as_real.ec != std::errc()) fail("a value");
    at_ += static_cast<std::size_t>(as_real.ptr - first);
    const bool is_whole = as_whole.ec == std::errc() && as_whole.ptr == as_real.ptr;
    if (is_whole && peek() == 'L') ++at_;  // Python 2's long
    return is_whole ? json(whole) : json(real);
  }

  char32_t parse_digits(std::size_t count, int base) {
    unsigned value = 0;
    const std::string_view digits = text_.substr(at_, count);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (digits.size() != count || error != std::errc() || end != digits.data() + count)
      fail(fmt::format("{} hexadecimal digits", count));
    at_ += count;
    return value;
  }

  /// \u and \U: a surrogate pair is one code point.
  char32_t parse_unicode(std::size_t count) {
    const char32_t high = parse_digits(count, 16);
    if (high < 0xD800 || high >= 0xDC00) return high;
    const std::size_t before = at_;
    if (take("\\u")) {
      const char32_t low = parse_digits(4, 16);
      if (low >= 0xDC00 && low < 0xE000) return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
      at_ = before;
    }
    return high;  // append_utf8 makes it U+FFFD
  }

  json parse_string() {
    const char mark = text_[at_++];
    std::string bytes;   // \xhh as a byte
    std::string points;  // \xhh as a code point
    const auto append = [&](char32_t point) {
      append_utf8(bytes, point);
      append_utf8(points, point);
    };
    for (;;) {
      if (at_ >= text_.size()) fail(fmt::format("the closing {}", mark));
      const char c = text_[at_++];
      if (c == mark) break;
      if (c != '\\') {
        bytes += c;
        points += c;
        continue;
      }
      const char escape = peek();
      ++at_;
      switch (escape) {
        case 'n':
          append('\n');
          break;
        case 't':
          append('\t');
          break;
        case 'r':
          append('\r');
          break;
        case 'a':
        case 'b':
        case 'f':
        case 'v':
          append(' ');
          break;
        case '\\':
        case '\'':
        case '"':
          append(static_cast<unsigned char>(escape));
          break;
        case 'u':
          append(parse_unicode(4));
          break;
        case 'U':
          append(parse_unicode(8));
          break;
        case 'x': {
          const char32_t value = parse_digits(2, 16);
          bytes += static_cast<char>(value);
          append_utf8(points, value);
          break;
        }
        default:  // Python keeps an escape that it does not know
          append('\\');
          --at_;
      }
    }
    return first_invalid_utf8(bytes) == std::string::npos ? bytes : points;
  }

  const LineReader& reader_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

json parse_python_literal(const LineReader& reader, std::string_view text) {
  reader.require_utf8(text);
  return Parser(reader, text).parse();
}

}  // namespace galrec::data
