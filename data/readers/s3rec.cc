#include "data/readers/s3rec.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "data/readers/text.h"

namespace galrec::data {
namespace {

constexpr std::string_view kRow = "a line \"user item item ...\"";
constexpr std::int64_t kMaxId = std::numeric_limits<std::int32_t>::max();

/// Reads and checks the user id that opens a line; users stand in order from 1.
void expect_user(const LineReader& reader, std::string_view token, std::int64_t turn) {
  const std::int64_t user = reader.integer(token, 1, kMaxId, "a user id");
  if (user < turn)
    reader.fail(fmt::format("user {} a second time", user), fmt::format("user {}, each user once", turn));
  if (user > turn)
    reader.fail(fmt::format("user {}", user), fmt::format("user {}: users are numbered by line from 1", turn));
}

/// Without a list of items the ids themselves must say how many there are: every id up to the largest occurs.
void require_no_gaps(const LineReader& reader, const Sequences& sequences, std::int64_t line_of_largest) {
  const auto largest = static_cast<std::size_t>(sequences.num_items);
  std::vector<char> seen(std::min(largest, sequences.items.size()) + 1, 0);
  for (const ItemId item : sequences.items)
    if (static_cast<std::size_t>(item) < seen.size()) seen[static_cast<std::size_t>(item)] = 1;
  const auto missing = static_cast<std::size_t>(std::find(seen.begin(), seen.end(), 0) - seen.begin());
  if (missing < largest)
    reader.fail_at(line_of_largest, fmt::format("item id {} although no line has item {}", largest, missing + 1),
                   "item ids from 1 without gaps (`galrec prepare` renumbers them)");
}

}  // namespace

Sequences read_s3rec(LineReader& reader, std::optional<std::int32_t> num_items) {
  Sequences out;
  const std::int64_t highest = num_items ? *num_items : kMaxId;
  std::int64_t line_of_largest = 0;
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    const auto turn = static_cast<std::int64_t>(out.offsets.size());
    expect_user(reader, next_token(line), turn);
    for (std::string_view token = next_token(line); !token.empty(); token = next_token(line)) {
      const auto item = static_cast<std::int32_t>(reader.integer(token, 1, highest, "an item id"));
      if (item > out.num_items) {
        out.num_items = item;
        line_of_largest = reader.line();
      }
      out.items.push_back(item - 1);
    }
    if (static_cast<std::int64_t>(out.items.size()) == out.offsets.back())
      reader.fail(fmt::format("user {} without items", turn), kRow);
    out.offsets.push_back(static_cast<std::int64_t>(out.items.size()));
  }
  if (out.items.empty()) reader.fail("no users", kRow);
  if (num_items) {
    out.num_items = *num_items;
  } else {
    require_no_gaps(reader, out, line_of_largest);
  }
  return out;
}

std::vector<std::int64_t> read_s3rec_times(LineReader& reader, const Sequences& sequences) {
  constexpr auto kLowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto kHighest = std::numeric_limits<std::int64_t>::max();
  const std::size_t users = sequences.offsets.size() - 1;
  std::vector<std::int64_t> times;
  times.reserve(sequences.items.size());
  std::size_t user = 0;
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    if (user == users)
      reader.fail(fmt::format("more than {} lines", users), "as many lines as sequences.txt has users");
    expect_user(reader, next_token(line), static_cast<std::int64_t>(user) + 1);
    const std::size_t first = times.size();
    for (std::string_view token = next_token(line); !token.empty(); token = next_token(line)) {
      const std::int64_t time = reader.integer(token, kLowest, kHighest, "a time");
      if (times.size() > first && time < times.back())
        reader.fail(fmt::format("time {} after {}", time, times.back()), "times that never fall (oldest first)");
      times.push_back(time);
    }
    ++user;
    const auto expected = static_cast<std::size_t>(sequences.offsets[user]);
    if (times.size() != expected)
      reader.fail(fmt::format("{} times for user {}", times.size() - first, user),
                  fmt::format("{}, one for each interaction", expected - first));
  }
  if (user != users) reader.fail(fmt::format("{} lines", user), fmt::format("{}, one for each user", users));
  return times;
}

Interactions read_s3rec_interactions(LineReader& reader) {
  Interactions out;
  std::string_view line;
  while (reader.next_row(line, kRow)) {
    reader.require_utf8(line);
    const std::string_view user = next_token(line);
    reader.require_id(user, "user id");
    if (out.users.find(user) >= 0)
      reader.fail(fmt::format("user {} a second time", quote(user)), "one line for each user");
    std::string_view item = next_token(line);
    if (item.empty()) reader.fail(fmt::format("user {} without items", quote(user)), kRow);
    for (; !item.empty(); item = next_token(line)) {
      reader.require_id(item, "item id");
      out.add(user, item);
    }
  }
  if (out.size() == 0) reader.fail("no users", kRow);
  return out;
}

}  // namespace galrec::data
