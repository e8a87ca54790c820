#include "data/readers/text.h"

#include <gtest/gtest.h>

namespace galrec::data {
namespace {

TEST(Utf8, FindsTheFirstBadByte) {
  const auto npos = std::string_view::npos;
  for (const char* good : {"", "abc", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_EQ(first_invalid_utf8(good), npos) << good;
  EXPECT_EQ(first_invalid_utf8("ab\xE9"), 2u);            // Latin-1
  EXPECT_EQ(first_invalid_utf8("\xC0\xAF"), 0u);          // overlong
  EXPECT_EQ(first_invalid_utf8("\xE0\x80\x80"), 0u);      // overlong
  EXPECT_EQ(first_invalid_utf8("a\xED\xA0\x80"), 1u);     // surrogate
  EXPECT_EQ(first_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(first_invalid_utf8("ok\xE2\x82"), 2u);        // cut
  EXPECT_EQ(first_invalid_utf8("\x80"), 0u);              // a stray continuation
}

TEST(Utf8, AppendsEveryLength) {
  std::string out;
  for (const char32_t c :
       {U'a', U'\u00e9', U'\u20ac', U'\U0001F600', static_cast<char32_t>(0xD800), static_cast<char32_t>(0x110000)})
    append_utf8(out, c);
  EXPECT_EQ(out, "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(latin1_to_utf8("Caf\xE9"), "Caf\xC3\xA9");
}

TEST(CleanText, MakesRunsOfBlanksAndControlsOneSpace) {
  EXPECT_EQ(clean_text("  a\t\n b \x01\x7F"
                       "c "),
            "a b c");
  EXPECT_EQ(clean_text("a\xC2\xA0\xE2\x80\x83\xE3\x80\x80"
                       "b\xC2\x85"),
            "a b");  // no-break, em, ideographic space, NEL
  EXPECT_EQ(clean_text("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(clean_text(" \t "), "");
}

TEST(Html, DecodesEntitiesAndLeavesTheRest) {
  EXPECT_EQ(decode_html_entities("Tom &amp; Jerry&#39;s &quot;&#x41;&quot;"), "Tom & Jerry's \"A\"");
  EXPECT_EQ(decode_html_entities("&reg;"), "\xC2\xAE");
  for (const char* same : {"AT&T; &unknown; & &;", "&#;", "&#0;", "&#99999999;", "&#xZZ;", "a &"})
    EXPECT_EQ(decode_html_entities(same), same);
  EXPECT_EQ(decode_html_entities("&#55296;"), "\xEF\xBF\xBD");  // a surrogate
}

TEST(Quote, IsShortAndPrintable) {
  EXPECT_EQ(quote("a\tb\xFF"), "'a\\x09b\\xff'");
  EXPECT_EQ(quote(std::string(100, 'x')), "'" + std::string(40, 'x') + "...'");
}

TEST(Fields, SplitAndTokens) {
  std::vector<std::string_view> fields;
  split_fields("a\t\tb\t", '\t', fields);
  EXPECT_EQ(fields, (std::vector<std::string_view>{"a", "", "b", ""}));
  std::string_view line = "  a \tbc ";
  EXPECT_EQ(next_token(line), "a");
  EXPECT_EQ(next_token(line), "bc");
  EXPECT_EQ(next_token(line), "");
}

}  // namespace
}  // namespace galrec::data
