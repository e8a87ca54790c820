#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/atomic_file.h"
#include "data/prompt_templates.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/real_data.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;
using Ids = std::vector<std::int32_t>;

constexpr const char* kT5 = "tokenizer/spiece.model";

std::vector<std::string> sentences() {
  std::vector<std::string> texts = PromptTemplates::defaults().literals();
  for (const char* brand : {"Nivea", "Burt's Bees",
                            "L'Or\xc3\xa9"
                            "al",
                            "Dove", "Aveeno"})
    for (const char* kind : {"Hand Cream", "Body Lotion", "Shampoo, 12 oz", "Lip Balm (Pack of 3)", "Face Wash"})
      texts.push_back(std::string(brand) + " " + kind);
  return texts;
}

// A vocabulary trained for the test: what must hold for any.
class SmallTokenizer : public ::testing::Test {
 protected:
  SmallTokenizer() {
    Tokenizer::train(sentences(), 150, folder_ / "spiece.model");
    tokenizer_ = Tokenizer::load(find_spiece(folder_.path()));
  }
  test::TemporaryFolder folder_;
  std::optional<Tokenizer> tokenizer_;
};

TEST_F(SmallTokenizer, TrainingIsReproducible) {
  Tokenizer::train(sentences(), 150, folder_ / "again.model");
  EXPECT_EQ(read_file(folder_ / "again.model"), read_file(folder_ / "spiece.model"));
  EXPECT_GT(tokenizer_->vocab_size(), Tokenizer::kSentinels + 60);
  EXPECT_LE(tokenizer_->vocab_size(), Tokenizer::kSentinels + 150);
}

TEST_F(SmallTokenizer, KnownTextComesBack) {
  for (const std::string& text : sentences()) {
    const Ids ids = tokenizer_->encode(text);
    EXPECT_FALSE(ids.empty());
    for (const std::int32_t id : ids)
      EXPECT_TRUE(id > Tokenizer::unk() && id < tokenizer_->vocab_size() - Tokenizer::kSentinels) << text;
    EXPECT_EQ(tokenizer_->decode(ids), text);
  }
  EXPECT_LT(tokenizer_->encode("has interacted with items").size(), 20u);  // pieces: of 25 characters
}

TEST_F(SmallTokenizer, SpecialTokensAreCutOut) {
  const std::int32_t last = tokenizer_->vocab_size() - 1;
  EXPECT_EQ(tokenizer_->encode("<extra_id_0>"), Ids{last});
  EXPECT_EQ(tokenizer_->sentinel(7), last - 7);
  EXPECT_EQ(tokenizer_->encode("<extra_id_99><extra_id_7></s><pad><unk>"), (Ids{last - 99, last - 7, 1, 0, 2}));
  const Ids hand = tokenizer_->encode("Hand"), cream = tokenizer_->encode("Cream");
  Ids expected = hand;
  expected.push_back(Tokenizer::eos());
  expected.insert(expected.end(), cream.begin(), cream.end());
  for (const char* text : {"Hand</s>Cream", "Hand </s> Cream", " Hand  </s>  Cream "})
    EXPECT_EQ(tokenizer_->encode(text), expected) << text;
  EXPECT_EQ(tokenizer_->decode(tokenizer_->encode("Hand <extra_id_3> Cream</s>")), "Hand <extra_id_3> Cream");
}

TEST_F(SmallTokenizer, WhatOnlyLooksSpecialIsText) {
  for (const char* text : {"<extra_id_100>", "<extra_id_07>", "<extra_id_>", "<extra_id_1", "<extra_id_-1>", "<PAD>",
                           "< pad>", "<s>", "</s", "<"})
    for (const std::int32_t id : tokenizer_->encode(text))
      EXPECT_TRUE(id >= Tokenizer::unk() && id < tokenizer_->vocab_size() - Tokenizer::kSentinels) << text;
}

TEST_F(SmallTokenizer, OddBytesDoNoHarm) {
  EXPECT_TRUE(tokenizer_->encode("").empty());
  EXPECT_TRUE(tokenizer_->encode(" \t\n ").empty());
  EXPECT_EQ(tokenizer_->encode("\xff\xfe").back(), Tokenizer::unk());
  EXPECT_FALSE(tokenizer_->encode(std::string_view("a\0b", 3)).empty());
  EXPECT_THROW(tokenizer_->decode(Ids{-1}), CheckError);
  EXPECT_THROW(tokenizer_->decode(Ids{tokenizer_->vocab_size()}), CheckError);
  EXPECT_THROW(tokenizer_->sentinel(100), CheckError);
}

TEST(Tokenizer, BadModelsAreNamed) {
  test::TemporaryFolder folder;
  write_file(folder / "bad.model", "this is not a model");
  expect_error<DataError>([&] { Tokenizer::load(folder / "bad.model"); }, {"bad.model", "not a SentencePiece model"});
  write_file(folder / "empty.model", "");
  expect_error<DataError>([&] { Tokenizer::load(folder / "empty.model"); }, {"empty.model"});
  expect_error<DataError>([&] { Tokenizer::load(folder / "none.model"); }, {"none.model", "No such file"});
  expect_error<DataError>([&] { find_spiece(folder.path()); }, {folder.path().string(), "spiece.model"});
  expect_error<DataError>([&] { Tokenizer::train({}, 100, folder / "x.model"); }, {"x.model", "0 sentences"});
  expect_error<DataError>([&] { Tokenizer::train(sentences(), 10, folder / "x.model"); },
                          {"x.model", "vocabulary of 10"});
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"bad.model", "empty.model"}));
}

void expect_golden(const Tokenizer& tokenizer, const std::filesystem::path& file, std::size_t at_least) {
  const auto entries = nlohmann::json::parse(read_file(file));
  ASSERT_GE(entries.size(), at_least);
  for (const auto& entry : entries)
    EXPECT_EQ(tokenizer.encode(entry["text"].get<std::string>()), entry["ids"].get<Ids>()) << entry["text"];
}

TEST(Tokenizer, EqualsTheReferenceOnTheTraps) {
  GALREC_REQUIRE_DATA(test::real_data(kT5));
  const auto tests = std::filesystem::path(__FILE__).parent_path().parent_path();
  expect_golden(Tokenizer::load(test::real_data(kT5)), tests / "golden/tokenizer_small.json", 36);
}

TEST(Tokenizer, EqualsTheReferenceOnEveryEntry) {
  GALREC_REQUIRE_DATA(test::real_data(kT5));
  GALREC_REQUIRE_DATA(test::golden_data("tokenizer.json"));
  expect_golden(Tokenizer::load(test::real_data(kT5)), test::golden_data("tokenizer.json"), 156);
}

TEST(Tokenizer, T5Sizes) {
  GALREC_REQUIRE_DATA(test::real_data(kT5));
  const auto tokenizer = Tokenizer::load(test::real_data(kT5));
  EXPECT_EQ(tokenizer.vocab_size(), 32100);
  EXPECT_EQ(tokenizer.sentinel(0), 32099);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("What is the next recommendation ?")),
            "What is the next recommendation ?");
}

}  // namespace
}  // namespace galrec::data
