#include "data/readers/yelp.h"

#include <map>

#include "tests/data/test_files.h"

namespace galrec::data {
namespace {

using test::expect_data_error;

std::int64_t date(std::string_view text) {
  LineReader reader("", "review.json");
  return parse_date(reader, text);
}

TEST(YelpReader, ReadsReviews) {
  LineReader reader(
      R"({"review_id":"x","user_id":"u1","business_id":"b1","stars":4.0,"text":"ok","date":"2019-03-09 14:44:56"})"
      "\n"
      R"({"user_id":"u1","business_id":"b2","stars":1,"date":"2016-02-29"})"
      "\n",
      "review.json");
  const Interactions in = read_yelp_reviews(reader);
  ASSERT_EQ(in.size(), 2u);
  EXPECT_EQ(in.time, (std::vector<std::int64_t>{1552142696, 1456704000}));
  EXPECT_EQ(in.rating, (std::vector<double>{4, 1}));
  EXPECT_EQ(in.items[in.item[1]], "b2");
}

TEST(YelpReader, DatesAreChecked) {
  EXPECT_EQ(date("1970-01-01"), 0);
  EXPECT_EQ(date("1969-12-31 23:59:59"), -1);
  EXPECT_EQ(date("2000-03-01T00:00:00"), 951868800);
  for (const char* bad : {"", "2019-02-29", "2019-13-01", "2019-3-9", "2019-03-09 24:00:00", "2019-03-09 1:00:00",
                          "09/03/2019", "2019-03-09 14:44"})
    expect_data_error([&] { date(bad); }, {"review.json:1: got the date", "YYYY-MM-DD"});
}

TEST(YelpReader, ReadsBusinesses) {
  LineReader reader(R"({"business_id":"b1","name":"Sal's  Pizza","categories":"Pizza, Food,  Salad"})"
                    "\n"
                    R"({"business_id":"b2","name":"Old","categories":["A","B"]})"
                    "\n"
                    R"({"business_id":"b3","categories":null})"
                    "\n",
                    "business.json");
  std::map<std::string, ItemText> items;
  read_yelp_businesses(reader, [&](std::string_view id, ItemText text) { items[std::string(id)] = std::move(text); });
  EXPECT_EQ(items.at("b1").title, "Sal's Pizza");
  EXPECT_EQ(items.at("b1").categories, "Pizza; Food; Salad");
  EXPECT_EQ(items.at("b2").categories, "A; B");
  EXPECT_EQ(items.at("b3").title, "");
}

TEST(YelpReader, NamesFileLineAndKey) {
  const auto expect = [](std::string_view text, std::initializer_list<std::string_view> parts) {
    SCOPED_TRACE(text);
    LineReader reader(text, "review.json");
    expect_data_error([&] { read_yelp_reviews(reader); }, parts);
  };
  expect(R"({"user_id":"u","stars":1,"date":"2019-01-01"})", {"review.json:1: got no key \"business_id\""});
  expect(R"({"user_id":"u","business_id":"b","stars":null,"date":"2019-01-01"})",
         {"\"stars\": null, expected a number"});
  expect(R"({"user_id":"u","business_id":"b","stars":1,"date":20190101})", {"\"date\": 20190101, expected a string"});
  expect("\n\n", {"no reviews"});
}

}  // namespace
}  // namespace galrec::data
