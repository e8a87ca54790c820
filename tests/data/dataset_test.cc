#include "data/dataset.h"

#include <chrono>

#include "tests/data/test_files.h"
#include "tests/support/real_data.h"

namespace galrec::data {
namespace {

using test::expect_data_error;
using test::InputFolder;

Dataset small() {
  DatasetParts parts;
  parts.name = "small";
  parts.offsets = {0, 3, 4};
  parts.items = {0, 2, 1, 2};
  parts.times = {10, 10, 30, -5};
  parts.num_items = 4;
  parts.raw_users = {"alice", "bob"};
  parts.raw_items = {"A", "B", "C", "D"};
  parts.titles = {"tab\there", "caf\xC3\xA9 \"x\"", "", "unused"};
  parts.categories = {"a > b; c", "", "", ""};
  parts.provenance = {{"source", "test"}};
  return Dataset(std::move(parts));
}

void expect_equal(const Dataset& a, const Dataset& b) {
  EXPECT_EQ(a.name, b.name);
  ASSERT_EQ(a.num_users(), b.num_users());
  ASSERT_EQ(a.num_items(), b.num_items());
  EXPECT_EQ(a.provenance(), b.provenance());
  for (UserId u = 0; u < a.num_users(); ++u) {
    EXPECT_TRUE(std::ranges::equal(a.sequence(u), b.sequence(u)));
    EXPECT_TRUE(std::ranges::equal(a.times(u), b.times(u)));
    EXPECT_EQ(a.raw_user(u), b.raw_user(u));
  }
  for (ItemId i = 0; i < a.num_items(); ++i) {
    EXPECT_EQ(a.item_title(i), b.item_title(i));
    EXPECT_EQ(a.item_categories(i), b.item_categories(i));
    EXPECT_EQ(a.raw_item(i), b.raw_item(i));
  }
}

TEST(Dataset, SaveAndLoadGiveTheSame) {
  InputFolder folder;
  const Dataset before = small();
  before.save(folder.path() / "deep" / "er");
  expect_equal(before, Dataset::load(folder.path() / "deep" / "er"));
  EXPECT_EQ(test::read_text(folder.path() / "deep/er/sequences.txt"), "1 1 3 2\n2 3\n");
  EXPECT_EQ(test::read_text(folder.path() / "deep/er/times.txt"), "1 10 10 30\n2 -5\n");
}

TEST(Dataset, SaveReplacesAnOlderDataSetAndLeavesNoTemporaries) {
  InputFolder folder;
  small().save(folder.path());
  folder.write("text_embeddings.safetensors", "kept");
  folder.write(".saving/sequences.txt", "of a save that was killed");
  DatasetParts parts;
  parts.name = "other";
  parts.offsets = {0, 1};
  parts.items = {0};
  parts.num_items = 1;
  const Dataset other{std::move(parts)};
  other.save(folder.path());
  expect_equal(other, Dataset::load(folder.path()));
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    files.push_back(entry.path().filename().string());
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files, (std::vector<std::string>{"dataset.json", "items.tsv", "sequences.txt",
                                             "text_embeddings.safetensors", "users.tsv"}));
}

TEST(Dataset, AFailedSaveLeavesTheOldFiles) {
  InputFolder folder;
  folder.write("file", "not a folder");
  expect_data_error([&] { small().save(folder.path() / "file"); }, {"file", "cannot be written"});
  EXPECT_EQ(test::read_text(folder.path() / "file"), "not a folder");
  folder.write("set/items.tsv", "old");
  std::filesystem::create_directories(folder.path() / "set" / "sequences.txt");  // a folder where a file must go
  expect_data_error([&] { small().save(folder.path() / "set"); }, {"set", "cannot be written", "directory"});
  EXPECT_EQ(test::read_text(folder.path() / "set" / "items.tsv"), "old");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "set" / ".saving"));
}

TEST(Dataset, SequencesAloneAreEnough) {
  InputFolder folder;
  folder.write("shop/sequences.txt", "1 1 2 3\n2 2\n");
  const Dataset dataset = Dataset::load(folder.path() / "shop");
  EXPECT_EQ(dataset.name, "shop");
  EXPECT_EQ(dataset.num_items(), 3);
  EXPECT_EQ(dataset.raw_item(2), "3");
  EXPECT_EQ(dataset.raw_user(1), "2");
  EXPECT_EQ(dataset.item_title(0), "");
  EXPECT_TRUE(dataset.times(0).empty());
}

TEST(Dataset, FilesThatDisagreeAreErrors) {
  InputFolder folder;
  expect_data_error([&] { Dataset::load(folder.path() / "none"); }, {"none: no such folder", "sequences.txt"});
  expect_data_error([&] { Dataset::load(folder.path()); }, {"sequences.txt: cannot be opened"});
  folder.write("sequences.txt", "1 1 2 3\n2 2\n");
  folder.write("items.tsv", "item_id\ttitle\n1\ta\n2\tb\n");
  expect_data_error([&] { Dataset::load(folder.path()); },
                    {"sequences.txt:1: got '3', expected an item id from 1 to 2"});
  folder.write("items.tsv", "item_id\ttitle\n1\ta\n2\tb\n3\tc\n");
  folder.write("users.tsv", "user_id\traw_id\n1\tx\n");
  expect_data_error([&] { Dataset::load(folder.path()); },
                    {"users.tsv:2: got 1 users, expected 2 as in sequences.txt"});
  folder.write("users.tsv", "user_id\traw_id\n1\tx\n2\ty\n");
  folder.write("dataset.json", "{\"interactions\": 5}");
  expect_data_error([&] { Dataset::load(folder.path()); }, {"dataset.json", "\"interactions\": got 5, expected 4"});
  folder.write("dataset.json", "{\"users\": 2,");
  expect_data_error([&] { Dataset::load(folder.path()); }, {"dataset.json: not valid JSON"});
  folder.write("dataset.json", "{\"name\": \"n\", \"users\": 2}");
  EXPECT_EQ(Dataset::load(folder.path()).name, "n");
}

TEST(Dataset, WrongPartsAreBugs) {
  DatasetParts parts;
  parts.offsets = {0, 2};
  parts.items = {0, 3};
  parts.num_items = 3;
  EXPECT_THROW(Dataset{parts}, CheckError);
  parts.num_items = 4;
  parts.times = {1};
  EXPECT_THROW(Dataset{parts}, CheckError);
  parts.times = {};
  parts.titles = {"one"};
  EXPECT_THROW(Dataset{parts}, CheckError);
}

TEST(Dataset, BeautyLoadsAsItIsAndFast) {
  const auto folder = galrec::test::real_data("beauty");
  GALREC_REQUIRE_DATA(folder);
  const auto start = std::chrono::steady_clock::now();
  const Dataset beauty = Dataset::load(folder);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  RecordProperty("seconds", std::to_string(seconds));
  EXPECT_EQ(beauty.name, "beauty");
  EXPECT_EQ(beauty.num_users(), 22363);
  EXPECT_EQ(beauty.raw_item(283), "B006448CW4");
  EXPECT_EQ(beauty.item_title(283), "Sexy Long Curly Synthetic Hair Wig (Black) (Model: Jf010269)");
  EXPECT_EQ(beauty.raw_user(0), "A1YJEY40YUW4SE");
  InputFolder copy;
  beauty.save(copy.path());
  EXPECT_EQ(test::read_text(copy.path() / "sequences.txt"), test::read_text(folder / "sequences.txt"));
  EXPECT_EQ(test::read_text(copy.path() / "items.tsv"), test::read_text(folder / "items.tsv"));
  EXPECT_EQ(test::read_text(copy.path() / "users.tsv"), test::read_text(folder / "users.tsv"));
}

}  // namespace
}  // namespace galrec::data
