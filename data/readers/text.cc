#include "data/readers/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace galrec::data {
namespace {

constexpr char32_t kInvalid = 0xFFFFFFFF;

/// Decodes one code point at `at` and moves it on; kInvalid (and `at` unmoved) where the bytes are not UTF-8.
char32_t decode_utf8(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) {
    ++at;
    return lead;
  }
  const int extra = lead >= 0xC2 && lead < 0xE0   ? 1
                    : lead >= 0xE0 && lead < 0xF0 ? 2
                    : lead >= 0xF0 && lead < 0xF5 ? 3
                                                  : 0;
  if (extra == 0 || text.size() - at <= static_cast<std::size_t>(extra)) return kInvalid;
  char32_t point = lead & (0x3Fu >> extra);
  for (int k = 1; k <= extra; ++k) {
    const unsigned next = byte(at + static_cast<std::size_t>(k));
    if ((next & 0xC0u) != 0x80) return kInvalid;
    point = (point << 6) | (next & 0x3Fu);
  }
  constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  if (point < kLeast[extra] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return kInvalid;
  at += static_cast<std::size_t>(extra) + 1;
  return point;
}

bool is_blank(char32_t c) {
  return c <= 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0x1680 || (c >= 0x2000 && c <= 0x200B) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

constexpr std::array<std::pair<std::string_view, char32_t>, 14> kEntities{{{"amp", '&'},
                                                                           {"lt", '<'},
                                                                           {"gt", '>'},
                                                                           {"quot", '"'},
                                                                           {"apos", '\''},
                                                                           {"nbsp", 0xA0},
                                                                           {"reg", 0xAE},
                                                                           {"copy", 0xA9},
                                                                           {"trade", 0x2122},
                                                                           {"eacute", 0xE9},
                                                                           {"ndash", 0x2013},
                                                                           {"mdash", 0x2014},
                                                                           {"rsquo", 0x2019},
                                                                           {"deg", 0xB0}}};

/// The code point that the entity's body (between & and ;) stands for, kInvalid where it is none.
char32_t entity_value(std::string_view body) {
  if (body.size() > 1 && body[0] == '#') {
    const bool hex = body[1] == 'x' || body[1] == 'X';
    const std::string_view digits = body.substr(hex ? 2 : 1);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    return whole && value > 0 && value <= 0x10FFFF ? value : kInvalid;
  }
  for (const auto& [name, value] : kEntities)
    if (body == name) return value;
  return kInvalid;
}

}  // namespace

std::size_t first_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();)
    if (decode_utf8(text, at) == kInvalid) return at;
  return std::string_view::npos;
}

void append_utf8(std::string& out, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) append_utf8(out, static_cast<unsigned char>(c));
  return out;
}

std::string clean_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool pending = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const char32_t point = decode_utf8(text, at);
    if (point == kInvalid) {
      at = start + 1;  // callers checked the text; a stray byte is dropped rather than passed on
      pending = true;
    } else if (is_blank(point)) {
      pending = true;
    } else {
      if (pending && !out.empty()) out += ' ';
      pending = false;
      out.append(text, start, at - start);
    }
  }
  return out;
}

std::string decode_html_entities(std::string_view text) {
  constexpr std::size_t kLongestEntity = 10;
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '&') {
      const std::string_view window = text.substr(at + 1, kLongestEntity + 1);
      const std::size_t end = window.find(';');
      const char32_t value = end == std::string_view::npos ? kInvalid : entity_value(window.substr(0, end));
      if (value != kInvalid) {
        append_utf8(out, value);
        at += end + 1;
        continue;
      }
    }
    out += text[at];
  }
  return out;
}

std::string quote(std::string_view text) {
  constexpr std::size_t kLongest = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  out += text.size() > kLongest ? "...'" : "'";
  return out;
}

void split_fields(std::string_view line, char separator, std::vector<std::string_view>& fields) {
  fields.clear();
  for (;;) {
    const std::size_t end = line.find(separator);
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return;
    line.remove_prefix(end + 1);
  }
}

std::string_view next_token(std::string_view& line) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  const auto begin = std::find_if_not(line.begin(), line.end(), blank);
  const auto end = std::find_if(begin, line.end(), blank);
  const std::string_view token(begin == line.end() ? nullptr : &*begin, static_cast<std::size_t>(end - begin));
  line.remove_prefix(static_cast<std::size_t>(end - line.begin()));
  return token;
}

}  // namespace galrec::data
