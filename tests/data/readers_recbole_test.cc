#include "data/readers/recbole.h"

#include <map>

#include "tests/data/test_files.h"
#include "tests/support/expect_error.h"

namespace galrec::data {
namespace {

using test::expect_data_error;

Interactions read(std::string_view text, const RecboleFields& fields = {}) {
  LineReader reader(text, "x.inter");
  return read_recbole_interactions(reader, fields);
}

std::map<std::string, ItemText> read_items(std::string_view text) {
  LineReader reader(text, "x.item");
  std::map<std::string, ItemText> items;
  read_recbole_items(reader, [&](std::string_view id, ItemText item) { items[std::string(id)] = std::move(item); });
  return items;
}

void expect_error(std::string_view text, std::initializer_list<std::string_view> parts) {
  SCOPED_TRACE(text);
  expect_data_error([&] { read(text); }, parts);
}

constexpr std::string_view kHeader = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n";
std::string with_header(std::string_view rows) {
  return std::string(kHeader) + std::string(rows);
}

TEST(RecboleReader, ReadsTypedColumnsInAnyOrder) {
  const Interactions in = read(
      "timestamp:float\textra:token_seq\titem_id:token\tuser_id:token\n881250949.0\ta b\ti 1\tu1\n8.8e8\t\ti2\tu1\n");
  ASSERT_EQ(in.size(), 2u);
  EXPECT_EQ(in.time, (std::vector<std::int64_t>{881250949, 880000000}));
  EXPECT_EQ(in.items[in.item[0]], "i 1");
  EXPECT_EQ(in.user[0], in.user[1]);
  EXPECT_TRUE(in.rating.empty());
  EXPECT_TRUE(read("user_id:token\titem_id:token\r\nu\ti\r\n").time.empty());
}

TEST(RecboleReader, ColumnsCanBeRenamed) {
  RecboleFields fields;
  fields.item = "book_id";
  EXPECT_EQ(read("user_id:token\tbook_id:token\nu\tb\n", fields).items[0], "b");
}

TEST(RecboleReader, NamesWhatIsWrongWithTheHeader) {
  expect_error("", {"x.inter:1: got an empty file", "user_id:token"});
  expect_error("user_id\titem_id\n1\t2\n", {"x.inter:1: got the column 'user_id'", "name:type", "token_seq"});
  expect_error("user_id:token\titem_id:int\n", {"x.inter:1: got the column 'item_id:int'"});
  expect_error("user_id:token\tproduct:token\n", {"x.inter:1:", "expected a column item_id:token"});
  expect_error("user_id:float\titem_id:token\n", {"got the column user_id:float, expected user_id:token"});
  expect_error("user_id:token\titem_id:token\tuser_id:token\n", {"'user_id' twice"});
}

TEST(RecboleReader, NamesWhatIsWrongWithARow) {
  expect_error(with_header("1\t2\t3\n"), {"x.inter:2: got 3 tab-separated fields, expected 4 as in the header"});
  expect_error(with_header("1\t2\t3\t4\t5\n"), {"x.inter:2: got 5"});
  expect_error(with_header("1\t2\t3\t4\n1\t\t3\t4\n"), {"x.inter:3: got an empty item_id"});
  expect_error(with_header("1\t2\tgood\t4\n"), {"x.inter:2: got 'good', expected a rating, a number"});
  expect_error(with_header("1\t2\t3\t4.5\n"), {"'4.5'", "a timestamp, a whole number"});
  expect_error(with_header("1\t2\t3\t1e300\n"), {"'1e300'", "a whole number"});
  expect_error(with_header("1\t2\tnan\t4\n"), {"'nan'"});
  expect_error(with_header("1\t2\t3\t4\n\n1\t2\t3\t4\n"), {"x.inter:3: got an empty line"});
  expect_error(with_header("1\t\xC3\x28\t3\t4\n"), {"x.inter:2: got byte 0xC3 in column 3, expected UTF-8"});
  expect_error(with_header(""), {"a header without rows"});
  expect_error(with_header(std::string_view("1\t2\t3\t\0\n", 8)), {"x.inter:2: got a NUL byte"});
}

TEST(RecboleReader, FindsTitleAndCategories) {
  const auto items = read_items(
      "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tToy  Story\t1995\tAnimation "
      "Children's Comedy\n2\tX\t\t\n");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items.at("1").title, "Toy Story");
  EXPECT_EQ(items.at("1").categories, "Animation; Children's; Comedy");
  EXPECT_EQ(items.at("2").categories, "");
  EXPECT_EQ(read_items("item_id:token\tname:token\tcategories:token\n7\tTea Pot\tHome, Kitchen\n").at("7").categories,
            "Home, Kitchen");
  EXPECT_EQ(read_items("item_id:token\n7\n").at("7").title, "");
}

}  // namespace
}  // namespace galrec::data
