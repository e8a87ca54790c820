#include "data/readers/line_reader.h"

#include <vector>

#include "tests/data/test_files.h"

namespace galrec::data {
namespace {

using test::expect_data_error;
using test::InputFolder;

std::vector<std::string> lines_of(LineReader& reader) {
  std::vector<std::string> lines;
  for (std::string_view line; reader.next(line);) lines.emplace_back(line);
  return lines;
}

TEST(LineReader, PlainGzipAndMemoryAgree) {
  InputFolder folder;
  std::string text;
  std::vector<std::string> expected;
  for (int k = 0; k < 20000; ++k) {  // several buffers, lines of every length around their ends
    expected.push_back(std::string(static_cast<std::size_t>(k * 7 % 131), static_cast<char>('a' + k % 26)));
    text += expected.back() + (k % 3 == 0 ? "\r\n" : "\n");
  }
  expected.push_back(std::string(1 << 20, 'z'));  // longer than the buffer, and without a newline
  text += expected.back();
  LineReader plain(folder.write("a.txt", text)), gzip(folder.write_gzip("a.txt.gz", text)), memory(text, "memory");
  EXPECT_EQ(lines_of(plain), expected);
  EXPECT_EQ(lines_of(gzip), expected);
  EXPECT_EQ(lines_of(memory), expected);
  EXPECT_EQ(plain.line(), static_cast<std::int64_t>(expected.size()));
}

TEST(LineReader, EmptyFilesHaveNoLines) {
  InputFolder folder;
  LineReader plain(folder.write("a.txt", "")), memory("", "memory");
  EXPECT_TRUE(lines_of(plain).empty());
  EXPECT_TRUE(lines_of(memory).empty());
}

TEST(LineReader, NamesWhatCannotBeOpened) {
  InputFolder folder;
  expect_data_error([&] { LineReader reader(folder.path() / "none.txt"); },
                    {"none.txt", "cannot be opened", "No such file"});
  expect_data_error([&] { LineReader reader(folder.path()); }, {"got a folder, expected a file"});
}

TEST(LineReader, RefusesACutOrDamagedGzipStream) {
  InputFolder folder;
  std::string text;
  for (int k = 0; k < 50000; ++k) text += std::to_string(k * 7919) + "\n";
  const std::string whole = test::read_text(folder.write_gzip("a.gz", text));
  const auto read = [&](const std::string& bytes) {
    LineReader reader(folder.write("b.gz", bytes));
    lines_of(reader);
  };
  read(whole);
  expect_data_error([&] { read(whole.substr(0, whole.size() / 2)); }, {"b.gz:", "it ends too early", "complete gzip"});
  std::string damaged = whole;
  for (std::size_t k = whole.size() / 2; k < whole.size() / 2 + 64; ++k) damaged[k] = static_cast<char>(~damaged[k]);
  expect_data_error([&] { read(damaged); }, {"b.gz:", "unreadable data"});
}

TEST(LineReader, BlankLinesMayOnlyEndTheFile) {
  std::string_view line;
  LineReader good("a\n\n  \n", "f");
  EXPECT_TRUE(good.next_row(line, "a row"));
  EXPECT_FALSE(good.next_row(line, "a row"));
  LineReader bad("a\n\n\nb\n", "f");
  EXPECT_TRUE(bad.next_row(line, "a row"));
  expect_data_error([&] { bad.next_row(line, "a row"); }, {"f:2: got an empty line, expected a row"});
}

TEST(LineReader, NumbersMustBeWholeTokens) {
  LineReader reader("", "f");
  EXPECT_EQ(reader.integer("-9223372036854775808", INT64_MIN, INT64_MAX, "x"), INT64_MIN);
  EXPECT_DOUBLE_EQ(reader.number("8.5e2", "x"), 850);
  for (const char* bad : {"", "+1", "1 ", "0x1", "9223372036854775808", "1e3"})
    expect_data_error([&] { reader.integer(bad, INT64_MIN, INT64_MAX, "a count"); }, {"expected a count from"});
  for (const char* bad : {"", "nan", "inf", "1e999", "3,5", "3 "})
    expect_data_error([&] { reader.number(bad, "a rating"); }, {"expected a rating, a number"});
}

}  // namespace
}  // namespace galrec::data
