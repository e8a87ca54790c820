#include "data/readers/items_tsv.h"

#include "tests/data/test_files.h"
#include "tests/support/expect_error.h"

namespace galrec::data {
namespace {

using test::expect_data_error;

ItemTable read(std::string_view text) {
  LineReader reader(text, "items.tsv");
  return read_items_tsv(reader);
}

void expect_error(std::string_view text, std::initializer_list<std::string_view> parts) {
  SCOPED_TRACE(text);
  expect_data_error([&] { read(text); }, parts);
}

TEST(ItemsTsv, ReadsColumnsByName) {
  const ItemTable table = read("item_id\tcategories\tnote\ttitle\n1\tA > B\tx\t\"Quoted\"  title\r\n2\t\t\t\n");
  EXPECT_EQ(table.titles, (std::vector<std::string>{"\"Quoted\" title", ""}));
  EXPECT_EQ(table.categories, (std::vector<std::string>{"A > B", ""}));
  EXPECT_EQ(table.raw_ids, (std::vector<std::string>{"", ""}));
}

TEST(ItemsTsv, NamesLineAndColumn) {
  expect_error("", {"items.tsv:1: got an empty file", "item_id"});
  expect_error("title\titem_id\n", {"items.tsv:1: got the header 'title\\x09item_id'"});
  expect_error("item_id\ttitle\n", {"got no rows"});
  expect_error("item_id\ttitle\n1\ta\n3\tb\n", {"items.tsv:3: got item_id 3, expected 2: one row for each id"});
  expect_error("item_id\ttitle\n1\ta\n1\tb\n", {"items.tsv:3: got item_id 1, expected 2: one row for each id"});
  expect_error("item_id\ttitle\n0\ta\n", {"items.tsv:2: got '0'"});
  expect_error("item_id\ttitle\n1\n", {"items.tsv:2: got 1 tab-separated fields, expected 2"});
  expect_error("item_id\ttitle\n1\ta\tb\n", {"items.tsv:2: got 3"});
  expect_error("item_id\ttitle\n1\tCaf\xE9\n", {"items.tsv:2: got byte 0xE9 in column 6, expected UTF-8"});
}

TEST(UsersTsv, ReadsRawIds) {
  LineReader reader("user_id\traw_id\n1\tA1\n2\tB2\n", "users.tsv");
  EXPECT_EQ(read_users_tsv(reader), (std::vector<std::string>{"A1", "B2"}));
  LineReader bad("item_id\traw_id\n1\tA1\n", "users.tsv");
  expect_data_error([&] { read_users_tsv(bad); }, {"users.tsv:1:", "user_id"});
}

}  // namespace
}  // namespace galrec::data
