#include "data/prepare.h"

#include <algorithm>

#include "data/statistics.h"
#include "tests/data/test_files.h"
#include "tests/support/real_data.h"

namespace galrec::data {
namespace {

using test::expect_data_error;
using test::InputFolder;

constexpr std::string_view kInter =
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "bob\tx\t5\t30\n"
    "ann\ty\t4\t20\n"
    "bob\tz\t1\t10\n"
    "ann\tx\t3\t20\n"
    "bob\ty\t4\t30\n"
    "eve\tw\t5\t1\n";

PrepareOptions options_for(const std::filesystem::path& file, int k) {
  PrepareOptions options;
  options.format = Format::kRecbole;
  options.interactions = file;
  options.min_user_interactions = options.min_item_interactions = k;
  return options;
}

std::string shown(const Dataset& dataset, UserId u) {
  std::string out = dataset.raw_user(u) + ":";
  for (const ItemId item : dataset.sequence(u)) out += " " + dataset.raw_item(item);
  return out;
}

TEST(Prepare, OrdersStablyAndNumbersByFirstAppearance) {
  InputFolder folder;
  const Dataset dataset = prepare(options_for(folder.write("shop.inter", kInter), 1));
  EXPECT_EQ(dataset.name, "shop");
  ASSERT_EQ(dataset.num_users(), 3);
  EXPECT_EQ(shown(dataset, 0), "bob: z x y");  // first in the file; x and y tie and keep the file's order
  EXPECT_EQ(shown(dataset, 1), "ann: y x");
  EXPECT_EQ(dataset.raw_item(0), "z");
  EXPECT_EQ(dataset.raw_item(1), "x");
  EXPECT_EQ(dataset.times(0)[0], 10);
}

TEST(Prepare, FileOrderKeepsTheFile) {
  InputFolder folder;
  PrepareOptions options = options_for(folder.write("shop.inter", kInter), 1);
  options.order = Order::kFile;
  const Dataset dataset = prepare(options);
  EXPECT_EQ(shown(dataset, 0), "bob: x z y");
  EXPECT_FALSE(dataset.has_times());
}

TEST(Prepare, FiltersThenTakesTheCore) {
  InputFolder folder;
  PrepareOptions options = options_for(folder.write("shop.inter", kInter), 2);
  options.min_rating = 3;
  PrepareReport report;
  const Dataset dataset = prepare(options, &report);
  EXPECT_EQ(report.read, 6);
  EXPECT_EQ(report.after_filters, 5);
  EXPECT_EQ(report.after_k_core, 4);
  EXPECT_EQ(dataset.num_items(), 2);
  EXPECT_EQ(shown(dataset, 0), "bob: x y");
  EXPECT_EQ(dataset.provenance().at("min_rating"), "3");
  options.min_rating = std::nullopt;
  options.min_user_interactions = options.min_item_interactions = 1;
  options.time_from = 10;
  options.time_to = 30;
  EXPECT_EQ(shown(prepare(options), 0), "ann: y x");
}

TEST(Prepare, NothingLeftIsADataError) {
  InputFolder folder;
  const auto file = folder.write("shop.inter", kInter);
  expect_data_error([&] { prepare(options_for(file, 5)); },
                    {"shop: nothing is left: 6 interactions read, 6 after", "users >= 5"});
}

TEST(Prepare, RefusesFiltersThatTheSourceCannotServe) {
  InputFolder folder;
  PrepareOptions options = options_for(folder.write("p5.txt", "u a b\n"), 1);
  options.format = Format::kS3Rec;
  EXPECT_EQ(shown(prepare(options), 0), "u: a b");
  options.min_rating = 3;
  EXPECT_THROW(prepare(options), UsageError);
  options.min_rating = std::nullopt;
  options.time_to = 3;
  EXPECT_THROW(prepare(options), UsageError);
}

TEST(Prepare, FindsTheFilesOfAFolderAndAttachesTexts) {
  InputFolder folder;
  folder.write("shop/shop.inter", kInter);
  folder.write(
      "shop/shop.item",
      "item_id:token\ttitle:token_seq\tcategories:token_seq\nx\tThe X\ta b\nx\tAgain\tc\nnone\tN\t\ny\tThe Y\t\n");
  PrepareReport report;
  const Dataset dataset = prepare(options_for(folder.path() / "shop", 2), &report);
  EXPECT_EQ(dataset.name, "shop");
  EXPECT_EQ(dataset.item_title(0), "The X");
  EXPECT_EQ(dataset.item_categories(0), "a; b");
  EXPECT_EQ(dataset.item_title(1), "The Y");
  EXPECT_EQ(report.metadata_rows, 4);
  EXPECT_EQ(report.metadata_repeats, 1);
  EXPECT_EQ(report.items_with_metadata, 2);
  folder.write("shop/other.inter", kInter);
  EXPECT_THROW(prepare(options_for(folder.path() / "shop", 2)), UsageError);
}

TEST(Prepare, EveryFormatRunsThroughThePipeline) {
  InputFolder folder;
  const auto run = [&](Format format, const std::filesystem::path& interactions, const std::filesystem::path& items) {
    PrepareOptions options = options_for(interactions, 1);
    options.format = format;
    options.item_metadata = items;
    return prepare(options);
  };
  const std::string review14 = R"({"reviewerID":"u","asin":"i","overall":4,"unixReviewTime":7})"
                               "\n";
  const std::string review23 = R"({"user_id":"u","parent_asin":"i","rating":4,"timestamp":7000})"
                               "\n";
  for (const auto& [format, interactions, items] : std::initializer_list<std::tuple<Format, std::string, std::string>>{
           {Format::kS3Rec, "1 1 2\n", "item_id\ttitle\n1\tThe I\n2\tb\n"},
           {Format::kAmazon2014, review14, "{'asin': 'i', 'title': 'The I'}\n"},
           {Format::kAmazon2018, review14, R"({"asin":"i","title":"The I"})"},
           {Format::kAmazon2023, review23, R"({"parent_asin":"i","title":"The I"})"},
           {Format::kYelp, R"({"user_id":"u","business_id":"i","stars":4,"date":"2019-01-01"})",
            R"({"business_id":"i","name":"The I"})"},
           {Format::kMovieLens100K, "1\ti\t3\t4\n", "i|The I|||x|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"},
           {Format::kMovieLens1M, "1::i::3::4\n", "i::The I::Drama\n"}}) {
    SCOPED_TRACE(format_names()[static_cast<std::size_t>(format)]);
    const Dataset dataset = run(format, folder.write_gzip("in.gz", interactions), folder.write("items", items));
    EXPECT_EQ(dataset.num_users(), 1);
    EXPECT_EQ(dataset.item_title(0), "The I");
    EXPECT_EQ(parse_format(format_names()[static_cast<std::size_t>(format)]), format);
  }
}

TEST(Prepare, KnowsItsFormats) {
  try {
    parse_format("movielens");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("movielens-100k, movielens-1m"), std::string::npos) << error.what();
  }
  InputFolder folder;
  PrepareOptions options = options_for(folder.path(), 1);
  options.format = Format::kAmazon2018;
  EXPECT_THROW(prepare(options), UsageError);  // a folder has no fixed names
  options.format = Format::kYelp;
  expect_data_error([&] { prepare(options); }, {"yelp_academic_dataset_review.json: cannot be opened"});
}

// S3-Rec's text is the output of this very pipeline: preparing it again changes nothing.
TEST(Prepare, BeautyIsAFixedPoint) {
  const auto folder = galrec::test::real_data("beauty");
  GALREC_REQUIRE_DATA(folder);
  PrepareOptions options = options_for(folder, 5);
  options.format = Format::kS3Rec;
  const Dataset again = prepare(options), before = Dataset::load(folder);
  ASSERT_EQ(again.num_users(), before.num_users());
  ASSERT_EQ(again.num_items(), before.num_items());
  for (UserId u = 0; u < again.num_users(); ++u) ASSERT_TRUE(std::ranges::equal(again.sequence(u), before.sequence(u)));
  for (ItemId i = 0; i < again.num_items(); ++i) ASSERT_EQ(again.item_title(i), before.item_title(i));
}

}  // namespace
}  // namespace galrec::data
