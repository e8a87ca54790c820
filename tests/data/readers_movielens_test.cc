#include "data/readers/movielens.h"

#include <map>

#include "tests/data/test_files.h"

namespace galrec::data {
namespace {

using test::expect_data_error;

Interactions read(std::string_view text, MovieLens edition) {
  LineReader reader(text, "ratings");
  return read_movielens_ratings(reader, edition);
}

std::map<std::string, ItemText> read_items(std::string_view text, MovieLens edition) {
  LineReader reader(text, "movies");
  std::map<std::string, ItemText> items;
  read_movielens_items(reader, edition,
                       [&](std::string_view id, ItemText item) { items[std::string(id)] = std::move(item); });
  return items;
}

TEST(MovieLensReader, ReadsBothEditions) {
  const Interactions small = read("196\t242\t3\t881250949\n186\t302\t3\t891717742\n", MovieLens::k100K);
  EXPECT_EQ(small.time, (std::vector<std::int64_t>{881250949, 891717742}));
  const Interactions large = read("1::1193::5::978300760\r\n1::661::3::978302109\r\n", MovieLens::k1M);
  EXPECT_EQ(large.rating, (std::vector<double>{5, 3}));
  EXPECT_EQ(large.items[large.item[1]], "661");
}

TEST(MovieLensReader, ConvertsLatin1AndReadsGenres) {
  const auto small = read_items(
      "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
      "2|Mis\xE9rables, Les (1995)|||http://x|0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n",
      MovieLens::k100K);
  EXPECT_EQ(small.at("1").title, "Toy Story (1995)");
  EXPECT_EQ(small.at("1").categories, "Animation; Children's; Comedy");
  EXPECT_EQ(small.at("2").title, "Mis\xC3\xA9rables, Les (1995)");
  EXPECT_EQ(small.at("2").categories, "Drama");
  const auto large = read_items("73::Mis\xE9rables, Les (1995)::Drama|Musical\n74::Caf\xC3\xA9::\n", MovieLens::k1M);
  EXPECT_EQ(large.at("73").title, "Mis\xC3\xA9rables, Les (1995)");
  EXPECT_EQ(large.at("73").categories, "Drama; Musical");
  EXPECT_EQ(large.at("74").title, "Caf\xC3\xA9");  // a copy that somebody converted already
}

TEST(MovieLensReader, NamesFileAndLine) {
  expect_data_error([] { read("1\t2\t3\t4\n1\t2\t3\n", MovieLens::k100K); },
                    {"ratings:2: got 3 fields, expected 4 separated by tabs"});
  expect_data_error([] { read("1\t2\t3\t4\n", MovieLens::k1M); },
                    {"ratings:1: got 1 fields, expected 4 separated by ::"});
  expect_data_error([] { read("1::2::x::4\n", MovieLens::k1M); }, {"ratings:1: got 'x', expected a rating"});
  expect_data_error([] { read("1::2::3::-4\n", MovieLens::k1M); },
                    {"ratings:1: got '-4', expected a timestamp from 0"});
  expect_data_error([] { read("1::::3::4\n", MovieLens::k1M); }, {"an empty item id"});
  expect_data_error([] { read("", MovieLens::k1M); }, {"no ratings"});
  expect_data_error([] { read_items("1|a|b|c|d|0|0\n", MovieLens::k100K); },
                    {"movies:1: got 7 fields, expected 24 separated by |"});
  expect_data_error([] { read_items("1|a|b|c|d|2|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n", MovieLens::k100K); },
                    {"movies:1: got '2', expected a genre flag from 0 to 1"});
}

}  // namespace
}  // namespace galrec::data
