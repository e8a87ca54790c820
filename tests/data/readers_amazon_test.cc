#include "data/readers/amazon.h"

#include <map>

#include "data/readers/python_literal.h"
#include "tests/data/test_files.h"

namespace galrec::data {
namespace {

using test::expect_data_error;

Interactions read(std::string_view text, AmazonRelease release) {
  LineReader reader(text, "r.json");
  return read_amazon_reviews(reader, release);
}

std::map<std::string, ItemText> read_items(std::string_view text, AmazonRelease release) {
  LineReader reader(text, "meta.json");
  std::map<std::string, ItemText> items;
  read_amazon_items(reader, release,
                    [&](std::string_view id, ItemText item) { items[std::string(id)] = std::move(item); });
  return items;
}

nlohmann::json literal(std::string_view text) {
  LineReader reader("", "meta.json");
  return parse_python_literal(reader, text);
}

TEST(AmazonReader, ReadsEveryRelease) {
  constexpr std::string_view k2014 =
      R"({"reviewerID": "A1", "asin": "B0", "helpful": [0, 1], "reviewText": "so \"good\"", "overall": 5.0, "unixReviewTime": 1252800000})"
      "\n"
      R"({"reviewerID": "A2", "asin": "B0", "overall": 2, "unixReviewTime": 1252800001})"
      "\n";
  for (const auto release : {AmazonRelease::k2014, AmazonRelease::k2018}) {
    const Interactions in = read(k2014, release);
    ASSERT_EQ(in.size(), 2u);
    EXPECT_EQ(in.users[in.user[1]], "A2");
    EXPECT_EQ(in.item[0], in.item[1]);
    EXPECT_EQ(in.rating, (std::vector<double>{5, 2}));
    EXPECT_EQ(in.time, (std::vector<std::int64_t>{1252800000, 1252800001}));
  }
  const Interactions in =
      read(R"({"rating": 4.0, "asin": "X", "parent_asin": "P", "user_id": "AE", "timestamp": 1588687728923})",
           AmazonRelease::k2023);
  EXPECT_EQ(in.items[0], "P");
  EXPECT_EQ(in.time[0], 1588687728923);
}

TEST(AmazonReader, ReadsGzip) {
  test::InputFolder folder;
  LineReader reader(
      folder.write_gzip("r.json.gz", "{\"reviewerID\":\"A\",\"asin\":\"B\",\"overall\":1,\"unixReviewTime\":3}\n"));
  EXPECT_EQ(read_amazon_reviews(reader, AmazonRelease::k2014).size(), 1u);
}

TEST(AmazonReader, NamesFileLineAndKey) {
  const auto expect = [](std::string_view text, std::initializer_list<std::string_view> parts) {
    SCOPED_TRACE(text);
    expect_data_error([&] { read(text, AmazonRelease::k2014); }, parts);
  };
  const std::string good = R"({"reviewerID":"A","asin":"B","overall":1,"unixReviewTime":3})"
                           "\n";
  expect(good + R"({"reviewerID":"A","asin":"B","overall":1,"unixRev)",
         {"r.json:2: got a line that ends within a JSON value"});
  expect(good + "garbage\n", {"r.json:2: got 'garbage' in column 1, expected one JSON object a line"});
  expect(good + "[1]\n", {"r.json:2: got a JSON array"});
  expect(R"({"reviewerID":"A","overall":1,"unixReviewTime":3})", {"r.json:1: got no key \"asin\""});
  expect(R"({"reviewerID":7,"asin":"B","overall":1,"unixReviewTime":3})", {"\"reviewerID\": 7, expected a string"});
  expect(R"({"reviewerID":"","asin":"B","overall":1,"unixReviewTime":3})", {"an empty reviewerID"});
  expect(R"({"reviewerID":"a\tb","asin":"B","overall":1,"unixReviewTime":3})", {"control characters"});
  expect(R"({"reviewerID":"A","asin":"B","overall":"5","unixReviewTime":3})", {"\"overall\": '5', expected a number"});
  expect(R"({"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":3.5})",
         {"\"unixReviewTime\": 3.5, expected a whole number"});
  expect(R"({"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":18446744073709551615})",
         {"\"unixReviewTime\"", "below 2^63"});
  expect(R"({"reviewerID":"A","asin":"B","overall":1e999,"unixReviewTime":3})", {"r.json:1:"});
  expect("{\"reviewerID\":\"\xE9\",\"asin\":\"B\",\"overall\":1,\"unixReviewTime\":3}", {"r.json:1:"});
  expect(std::string(100000, '['), {"r.json:1: got a line that ends within a JSON value"});
  expect("", {"no reviews"});
  expect(std::string_view("{\"reviewerID\":\0}", 16), {"r.json:1: got a NUL byte"});
}

TEST(AmazonMetadata, ReadsPythonLiteralsAndJson) {
  const auto old = read_items(
      R"({'asin': '000', 'title': "L'Oreal &amp; Co\n", 'price': 3.5, 'related': {'also_bought': ['1', '2']}, )"
      R"('categories': [['Beauty', 'Make-up'], ['Beauty', u'Caf\xe9']], 'imUrl': None})"
      "\n{'asin': '001'}\n",
      AmazonRelease::k2014);
  EXPECT_EQ(old.at("000").title, "L'Oreal & Co");
  EXPECT_EQ(old.at("000").categories, "Beauty > Make-up; Beauty > Caf\xC3\xA9");
  EXPECT_EQ(old.at("001").title, "");
  const auto newer = read_items(R"({"category": ["Toys &amp; Games", "Puzzles"], "title": "Cube", "asin": "X"})",
                                AmazonRelease::k2018);
  EXPECT_EQ(newer.at("X").categories, "Toys & Games > Puzzles");
  const auto newest =
      read_items(R"({"main_category": "All Beauty", "title": "Cream", "categories": [], "parent_asin": "Y"})",
                 AmazonRelease::k2023);
  EXPECT_EQ(newest.at("Y").title, "Cream");
  EXPECT_EQ(newest.at("Y").categories, "");
  expect_data_error([] { read_items("{'asin': '0'}\n{'asin': 'B', 'title': 'cut", AmazonRelease::k2014); },
                    {"meta.json:2: got the end of the line in column 28, expected the closing '"});
  expect_data_error([] { read_items("[1]\n", AmazonRelease::k2014); }, {"meta.json:1:", "expected one dict a line"});
  expect_data_error([] { read_items("{'title': 'x'}\n", AmazonRelease::k2014); }, {"no key \"asin\""});
}

TEST(PythonLiteral, ReadsEveryKindOfValue) {
  EXPECT_EQ(literal("{'a': [1, -2.5, 3L], 'b': (True, False, None,), \"c\": {}, 'd': [],}"),
            nlohmann::json::parse(R"({"a":[1,-2.5,3],"b":[true,false,null],"c":{},"d":[]})"));
  EXPECT_EQ(literal(R"('a\'b"\\\n\t')"), "a'b\"\\\n\t");
  EXPECT_EQ(literal(R"(u'\u20ac \U0001F600 \ud83d\ude00')"), "\xE2\x82\xAC \xF0\x9F\x98\x80 \xF0\x9F\x98\x80");
  EXPECT_EQ(literal(R"('\xc3\xa9')"), "\xC3\xA9");    // bytes that are UTF-8
  EXPECT_EQ(literal(R"('Caf\xe9')"), "Caf\xC3\xA9");  // bytes that are not: code points
  EXPECT_EQ(literal(R"('\ud83d')"), "\xEF\xBF\xBD");  // half a pair
  EXPECT_EQ(literal(R"('\q')"), "\\q");
}

TEST(PythonLiteral, RefusesTheRestWithAColumn) {
  const auto expect = [](std::string_view text, std::initializer_list<std::string_view> parts) {
    SCOPED_TRACE(text);
    expect_data_error([&] { literal(text); }, parts);
  };
  expect("{'a' 1}", {"'1}' in column 6, expected ':'"});
  expect("{'a': 1 'b': 2}", {"in column 9", "',' or '}'"});
  expect("{1: 2}", {"a string as the key"});
  expect("[1 2]", {"in column 4", "',' or ']'"});
  expect("[1, ", {"the end of the line in column 5", "a value"});
  expect("{'a': 1} x", {"'x' in column 10", "the end of the line"});
  expect("__import__('os')", {"in column 1", "a value"});
  expect("'\\x4'", {"2 hexadecimal digits"});
  expect("'\\", {"closing"});
  expect(std::string(1000, '['), {"64 levels"});
  expect("'\xE9'", {"byte 0xE9 in column 2, expected UTF-8"});
}

}  // namespace
}  // namespace galrec::data
