#include "data/prompt_templates.h"

#include <gtest/gtest.h>

#include "data/atomic_file.h"
#include "data/tokenizer.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;

const std::string kAll = "u0: {user}\nu1: {items}\nu2: {users}\ni0: {item}\ni1: {users}\ni2: {items}\n";

std::string with(const std::string& name, const std::string& text) {
  std::string all = kAll;
  const std::size_t at = all.find(name + ":");
  return all.replace(at, all.find('\n', at) - at, name + ": " + text);
}

void rejects(const std::string& text, std::initializer_list<std::string> parts) {
  expect_error<DataError>([&] { PromptTemplates::parse(text, "t.txt"); }, parts);
}

TEST(PromptTemplates, TheDefaultsAreTheShippedFile) {
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
  EXPECT_EQ(PromptTemplates::default_text(), read_file(root / "data/templates/default.txt"));
}

TEST(PromptTemplates, TheDefaultsSayWhatTheyShould) {
  const auto& t = PromptTemplates::defaults();
  EXPECT_EQ(t.get(Hop::kU0), (Template{{Slot::kLiteral, "user "}, {Slot::kUser, ""}}));
  EXPECT_EQ(t.get(Hop::kU2), (Template{{Slot::kLiteral, "user "},
                                       {Slot::kUser, ""},
                                       {Slot::kLiteral, " has interacted with items "},
                                       {Slot::kItems, ""},
                                       {Slot::kLiteral, "; users with shared items: "},
                                       {Slot::kUsers, ""},
                                       {Slot::kLiteral, " . What is the next recommendation ?"}}));
  EXPECT_EQ(t.get(Hop::kI1), (Template{{Slot::kLiteral, "item "},
                                       {Slot::kItem, ""},
                                       {Slot::kLiteral, " has interacted with users "},
                                       {Slot::kUsers, ""}}));
  EXPECT_EQ(t.get(Hop::kI2)[3].slot, Slot::kUsers);
  EXPECT_EQ(t.get(Hop::kI2)[5].slot, Slot::kItems);
  EXPECT_EQ(t.literals().size(), 14u);
  EXPECT_EQ(t.literals()[2], "has interacted with items");
}

TEST(PromptTemplates, ParsesAFile) {
  test::TemporaryFolder folder;
  write_file(folder / "t.txt", "# comment\r\n\n  u0 :  a {{b}} {user}{user} c \r\n" + kAll.substr(kAll.find("u1")));
  const auto t = PromptTemplates::load(folder / "t.txt");
  EXPECT_EQ(t.get(Hop::kU0),
            (Template{{Slot::kLiteral, "a {b} "}, {Slot::kUser, ""}, {Slot::kUser, ""}, {Slot::kLiteral, " c"}}));
  EXPECT_EQ(t.get(Hop::kI2), (Template{{Slot::kItems, ""}}));
}

TEST(PromptTemplates, NamesEveryMistakeWithItsLine) {
  rejects("", {"t.txt:", "template u0 is missing"});
  rejects(kAll.substr(0, kAll.find("i2")), {"t.txt:5", "template i2 is missing"});
  rejects(kAll + "u1: {items}", {"t.txt:7", "u1 occurs twice", "line 2"});
  rejects(kAll + "u3: x", {"t.txt:7", "unknown template 'u3'"});
  rejects("hello\n" + kAll, {"t.txt:1", "expected 'name: text'"});
  rejects(with("u0", "user {usr}"), {"t.txt:1", "template u0", "unknown placeholder {usr}"});
  rejects(with("u0", "user {}{user}"), {"t.txt:1", "unknown placeholder {}"});
  rejects(with("u0", "user {user} {items}"), {"t.txt:1", "{items} has no meaning in u0"});
  rejects(with("u1", "{user} {items} {users}"), {"t.txt:2", "{users} has no meaning in u1"});
  rejects(with("i1", "{user} {users}"), {"t.txt:5", "{user} has no meaning in i1"});
  rejects(with("u2", "{user} {items}"), {"t.txt:3", "expected the placeholder {users}"});
  rejects(with("i0", ""), {"t.txt:4", "expected the placeholder {item}"});
  rejects(with("u0", "{user"), {"t.txt:1", "'{' without '}'"});
  rejects(with("u0", "user} {user}"), {"t.txt:1", "'}' without '{'"});
  test::TemporaryFolder folder;
  expect_error<DataError>([&] { PromptTemplates::load(folder / "none.txt"); }, {"none.txt"});
}

TEST(PromptTemplates, CompilingIsTokenisingTheLiterals) {
  test::TemporaryFolder folder;
  std::vector<std::string> sentences = PromptTemplates::defaults().literals();
  for (int i = 0; i < 50; ++i) sentences.push_back("a few more words, number " + std::to_string(i));
  Tokenizer::train(sentences, 120, folder / "spiece.model");
  const auto tokenizer = Tokenizer::load(folder / "spiece.model");
  const auto compiled = PromptTemplates::defaults().compile(tokenizer);
  for (const Hop hop : kAllHops) {
    const auto& segments = PromptTemplates::defaults().get(hop);
    const auto& got = compiled.get(hop);
    ASSERT_EQ(got.segments.size(), segments.size()) << hop_name(hop);
    std::int64_t total = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      EXPECT_EQ(got.segments[i].slot, segments[i].slot);
      EXPECT_EQ(got.segments[i].tokens, tokenizer.encode(segments[i].text));
      total += static_cast<std::int64_t>(got.segments[i].tokens.size());
    }
    EXPECT_EQ(got.literal_tokens, total);
    EXPECT_GT(total, 0);
  }
  EXPECT_TRUE(compiled.get(Hop::kU2).has(Slot::kUsers));
  EXPECT_FALSE(compiled.get(Hop::kU1).has(Slot::kUsers));
  const auto spaces = PromptTemplates::parse(with("u2", "{user} {items}  {users}"), "t").compile(tokenizer);
  EXPECT_EQ(spaces.get(Hop::kU2).segments.size(), 3u);
}

}  // namespace
}  // namespace galrec::data
