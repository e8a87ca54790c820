#include "data/readers/s3rec.h"

#include "tests/data/test_files.h"
#include "tests/support/expect_error.h"

namespace galrec::data {
namespace {

using test::expect_data_error;

Sequences read(std::string_view text, std::optional<std::int32_t> num_items = std::nullopt) {
  LineReader reader(text, "s.txt");
  return read_s3rec(reader, num_items);
}

void expect_error(std::string_view text, std::initializer_list<std::string_view> parts,
                  std::optional<std::int32_t> items = std::nullopt) {
  SCOPED_TRACE(text);
  expect_data_error([&] { read(text, items); }, parts);
}

TEST(S3RecReader, ReadsSequencesWithZeroBasedIds) {
  const Sequences s = read("1 1 2 3\n2 3\n3 2 2 1\n");
  EXPECT_EQ(s.offsets, (std::vector<std::int64_t>{0, 3, 4, 7}));
  EXPECT_EQ(s.items, (std::vector<ItemId>{0, 1, 2, 2, 1, 1, 0}));
  EXPECT_EQ(s.num_items, 3);
}

TEST(S3RecReader, AcceptsCrlfTabsByteOrderMarkAndAMissingLastNewline) {
  const Sequences s = read(
      "\xEF\xBB\xBF"
      "1\t1  2 \r\n2 3\r\n\r\n");
  EXPECT_EQ(s.items, (std::vector<ItemId>{0, 1, 2}));
  EXPECT_EQ(read("1 1 2").items, (std::vector<ItemId>{0, 1}));
}

TEST(S3RecReader, ItemsMayBeUnusedOnlyWhenTheirNumberIsKnown) {
  EXPECT_EQ(read("1 1 3\n", 7).num_items, 7);
  expect_error("1 1\n2 9 2\n3 1\n", {"s.txt:2:", "item id 9", "no line has item 3", "without gaps"});
  expect_error("1 2147483647\n", {"s.txt:1:", "item id 2147483647", "no line has item 1"});
}

TEST(S3RecReader, RefusesIdsThatAreNone) {
  expect_error("1 1 2\n2 0\n", {"s.txt:2: got '0', expected an item id from 1 to"});
  expect_error("1 1 -2\n", {"s.txt:1: got '-2'", "item id"});
  expect_error("1 1 x7\n", {"s.txt:1: got 'x7'", "item id"});
  expect_error("1 1 2.5\n", {"got '2.5'"});
  expect_error("1 1 99999999999999999999999\n", {"got '99999999999999999999999'"});
  expect_error("1 1 8\n", {"got '8', expected an item id from 1 to 7"}, 7);
  expect_error("u1 1 8\n", {"got 'u1', expected a user id"});
  expect_error("\xff\xfe 1 8\n", {"got '\\xff\\xfe'"});
}

TEST(S3RecReader, RefusesUsersOutOfTurnOrTwice) {
  expect_error("1 1\n2 1\n1 1\n", {"s.txt:3:", "user 1 a second time"});
  expect_error("1 1\n3 1\n", {"s.txt:2: got user 3, expected user 2"});
  expect_error("0 1\n", {"s.txt:1:", "'0'", "user id from 1"});
}

TEST(S3RecReader, RefusesEmptyHistoriesAndLines) {
  expect_error("1 1 2\n2\n3 1\n", {"s.txt:2: got user 2 without items"});
  expect_error("1 1 2\n\n3 1\n", {"s.txt:2: got an empty line"});
  expect_error("", {"s.txt:1: got no users"});
  expect_error("\n\n", {"got no users"});
}

TEST(S3RecReader, RefusesNulBytes) {
  expect_error(std::string_view("1 1\n2 \0 1\n", 10), {"s.txt:2: got a NUL byte in column 3"});
}

TEST(S3RecReader, OneItemUsersAreFine) {
  EXPECT_EQ(read("1 1\n2 1\n").offsets, (std::vector<std::int64_t>{0, 1, 2}));
}

TEST(S3RecTimes, FollowTheSequences) {
  const Sequences s = read("1 1 2\n2 2\n");
  const auto times = [&](std::string_view text) {
    LineReader reader(text, "times.txt");
    return read_s3rec_times(reader, s);
  };
  EXPECT_EQ(times("1 5 5\n2 -3\n"), (std::vector<std::int64_t>{5, 5, -3}));
  expect_data_error([&] { times("1 5 4\n2 1\n"); }, {"times.txt:1: got time 4 after 5", "never fall"});
  expect_data_error([&] { times("1 5\n2 1\n"); }, {"times.txt:1: got 1 times for user 1, expected 2"});
  expect_data_error([&] { times("1 5 6\n"); }, {"times.txt:1: got 1 lines, expected 2"});
  expect_data_error([&] { times("1 5 6\n2 1\n3 1\n"); }, {"times.txt:3: got more than 2 lines"});
  expect_data_error([&] { times("1 5 1e9\n2 1\n"); }, {"got '1e9', expected a time"});
}

TEST(S3RecInteractions, TakeAnyTokens) {
  std::string_view text = "alice B00X B00Y\nbob B00Y\n";
  LineReader reader(text, "p5.txt");
  const Interactions in = read_s3rec_interactions(reader);
  ASSERT_EQ(in.size(), 3u);
  EXPECT_EQ(in.users[in.user[2]], "bob");
  EXPECT_EQ(in.items[in.item[2]], "B00Y");
  EXPECT_EQ(in.item[1], in.item[2]);
  EXPECT_TRUE(in.time.empty());
  const auto fails = [](std::string_view bad) {
    LineReader lines(bad, "p5.txt");
    read_s3rec_interactions(lines);
  };
  expect_data_error([&] { fails("alice a\nbob b\nalice c\n"); }, {"p5.txt:3: got user 'alice' a second time"});
  expect_data_error([&] { fails("alice a\nbob\n"); }, {"p5.txt:2: got user 'bob' without items"});
  expect_data_error([&] { fails("alice a\xE9\n"); }, {"p5.txt:1: got byte 0xE9 in column 8, expected UTF-8"});
}

}  // namespace
}  // namespace galrec::data
