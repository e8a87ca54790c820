#pragma once
// Text of the sources: UTF-8 checks, Latin-1, white space, HTML entities, and quoting for messages.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace galrec::data {

/// Position of the first byte that is not valid UTF-8 (overlong forms and surrogates are not), npos if there is none.
std::size_t first_invalid_utf8(std::string_view text);

/// Appends the code point as UTF-8; surrogates and values above U+10FFFF become U+FFFD.
void append_utf8(std::string& out, char32_t code_point);

std::string latin1_to_utf8(std::string_view text);

/// Control characters and every run of white space (ASCII and Unicode) become one space; none at either end.
/// `text` must be valid UTF-8.
std::string clean_text(std::string_view text);

/// Decodes the named entities of HTML that occur in product titles, and the numeric ones; the rest stays as it is.
std::string decode_html_entities(std::string_view text);

/// `text` in single quotes for a message: cut after 40 bytes, control characters and non-ASCII bytes as \xhh.
std::string quote(std::string_view text);

/// Splits at every `separator` into `fields` (cleared first); the fields point into `line`.
void split_fields(std::string_view line, char separator, std::vector<std::string_view>& fields);

/// The next run of characters other than space and tab, removed from `line`; empty at the end.
std::string_view next_token(std::string_view& line);

}  // namespace galrec::data
