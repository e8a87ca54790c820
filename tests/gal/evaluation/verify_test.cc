#include "gal/evaluation/verify.h"

#include <gtest/gtest.h>

#include <set>

#include "gal/evaluation/paper_tables.h"
#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::gal {
namespace {

std::set<std::string> impossible(const std::string& table) {
  std::set<std::string> out;
  for (const auto& v : verify_cells(parse_table(paper_table(table).markdown, table)))
    out.insert(v.dataset.empty() ? v.method : v.method + " " + v.dataset);
  return out;
}

// The cells that methods.md section 0 names, no more and no fewer.
TEST(Verify, NamesTheImpossibleCellsOfThePaper) {
  EXPECT_EQ(impossible("Table I"), (std::set<std::string>{"P5 Beauty", "CID Beauty", "CID Toys", "SID Beauty", "LightGCN Toys",
                                                          "IID Toys", "GAL(SASRec) Yelp"}));
  const auto three = impossible("Table III");
  for (const char* cell : {"w/o GAL(LGCN) Yelp", "w/o GAL(Text) Yelp"}) EXPECT_TRUE(three.contains(cell)) << cell;
  EXPECT_EQ(three, (std::set<std::string>{"w/o GAL(LGCN) Yelp", "w/o GAL(Text) Yelp", "w/ GAL(SASRec) Yelp"}));
  EXPECT_EQ(impossible("Table IV"), std::set<std::string>{"w/o L3"});
  EXPECT_EQ(impossible("Table V"), std::set<std::string>{"1-hop"});
}

TEST(Verify, SaysWhichInequalityFails) {
  for (const auto& v : verify_cells(parse_table(paper_table("Table I").markdown, "Table I")))
    if (v.method == "GAL(SASRec)") {
      EXPECT_EQ(v.inequality, "NDCG@10 - NDCG@5 <= (HR@10 - HR@5) / log2(7)");
      EXPECT_NE(v.numbers.find("0.0044 <= 0.0040"), std::string::npos) << v.numbers;
    }
}

TEST(Verify, AllFiguresOfTableIAreRead) {
  const auto cells = parse_table(paper_table("Table I").markdown, "Table I");
  ASSERT_EQ(cells.size(), 36u);
  for (const auto& cell : cells) {
    EXPECT_EQ(cell.hit_rate.size(), 2u);
    EXPECT_EQ(cell.ndcg.size(), 2u);
  }
  EXPECT_EQ(paper_value("gal(text)", "BEAUTY", {MetricKind::kNdcg, 10}), 0.0406);
  EXPECT_EQ(paper_value("LightGCN", "Toys", {MetricKind::kHitRate, 10}), 0.440);
  EXPECT_EQ(paper_value("w/o GAL(LGCN)", "Beauty", {MetricKind::kHitRate, 5}), 0.0292);
  EXPECT_FALSE(paper_value("LightGCN", "Steam", {MetricKind::kHitRate, 10}));
}

// Metrics of real ranks, however they are rounded, are never called impossible.
TEST(Verify, NeverFlagsFiguresOfRealRanks) {
  PhiloxStream stream({.seed = 5, .step = 0, .stream = 1});
  const std::vector<std::int64_t> ks{1, 3, 5, 10, 20};
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<std::int32_t> ranks(1 + stream.below(60));
    const std::uint64_t spread = 1 + stream.below(40);
    for (auto& r : ranks) r = static_cast<std::int32_t>(1 + stream.below(spread));
    const MetricTable table = compute_metrics(ranks, ks);
    std::string header = "method", row = "ours";
    for (std::size_t m = 0; m + 1 < table.metrics.size(); ++m) {
      header += "," + table.metrics[m].name();
      row += "," + fmt::format("{:.{}f}", table.values[m], 2 + stream.below(3));
    }
    const auto cells = parse_table(header + "\n" + row + "\n", "t.csv");
    const auto violations = verify_cells(cells);
    EXPECT_TRUE(violations.empty()) << header << "\n" << row << "\n" << violations[0].inequality << " " << violations[0].numbers;
    EXPECT_EQ(count_checks(cells), 18);  // two bounds for each of 5 cut-offs, 4 + 4 of growth
  }
}

TEST(Verify, RoundingIsTakenFromThePrintedDigits) {
  // .3869 of HR@5 is the least NDCG@5: 0.0100 allows 0.0038 only because both may be rounded.
  EXPECT_TRUE(verify_cells(parse_table("m,HR@5,NDCG@5\nx,0.0100,0.0038\n", "t")).empty());
  EXPECT_EQ(verify_cells(parse_table("m,HR@5,NDCG@5\nx,0.01000,0.00380\n", "t")).size(), 1u);
  EXPECT_EQ(verify_cells(parse_table("m,HR@5,NDCG@5\nx,0.0100,0.0102\n", "t")).size(), 1u);
  EXPECT_TRUE(verify_cells(parse_table("m,HR@5,NDCG@5\nx,0.0100,0.0101\n", "t")).empty());
  EXPECT_EQ(verify_cells(parse_table("m,HR@5,HR@10\nx,0.0100,0.0099\n", "t")).size(), 0u);
  EXPECT_EQ(verify_cells(parse_table("m,HR@5,HR@10\nx,0.0100,0.0098\n", "t")).size(), 1u);
}

TEST(VerifyTable, Layouts) {
  const auto lines = parse_table(
      "Some prose.\n\n| Method | Dataset | HR@5 | **NDCG@5** |\n|---|:-:|--:|---|\n| *A*† | Beauty | **0.05** | 0.03 |\n| A | Toys | - | 0.02±0.01 |\n",
      "t.md");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].method, "A");
  EXPECT_EQ(lines[0].dataset, "Beauty");
  EXPECT_EQ(lines[0].line, 5);
  EXPECT_EQ(lines[0].hit_rate.at(5).value, 0.05);
  EXPECT_EQ(lines[0].hit_rate.at(5).rounding, 0.005);
  EXPECT_TRUE(lines[1].hit_rate.empty());
  EXPECT_EQ(lines[1].ndcg.at(5).value, 0.02);

  const auto named = parse_table("\"model, ours\",Beauty HR@10,Beauty NDCG@10,HR@10 (Toys),N@10 (Toys)\n\"a \"\"b\"\"\",.1,.05,.2,.1\n", "t.csv");
  ASSERT_EQ(named.size(), 2u);
  EXPECT_EQ(named[0].method, "a \"b\"");
  EXPECT_EQ(named[0].dataset, "Beauty");
  EXPECT_EQ(named[1].dataset, "Toys");
  EXPECT_EQ(named[1].ndcg.at(10).value, 0.1);

  const auto blocks = parse_table("Methods,Yelp,,Toys,\n,HR@5,NDCG@5,HR@5,NDCG@5\nX,.1,.06,.2,.12\n", "t.csv");
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].dataset, "Yelp");
  EXPECT_EQ(blocks[1].dataset, "Toys");
  EXPECT_EQ(blocks[1].hit_rate.at(5).value, 0.2);
}

void expect_data_error(const std::string& text, const std::string& part) {
  try {
    parse_table(text, "t.csv");
    FAIL() << "accepted: " << text;
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(VerifyTable, BadInputNamesTheLine) {
  expect_data_error("", "no header row");
  expect_data_error("a,b\n1,2\n", "no header row");
  expect_data_error("m,HR@5,NDCG@5\n", "no row of figures");
  expect_data_error("m,HR@5,NDCG@5\nx,0.1,oops\n", "t.csv:2: NDCG@5: got 'oops'");
  expect_data_error("m,HR@5,NDCG@5\nx,0.1,-0.05\n", "t.csv:2");
  expect_data_error("m,HR@5,NDCG@5\nx,0.1,nan\n", "t.csv:2");
  expect_data_error("m,HR@5,NDCG@5\nx,0.1\n", "t.csv:2: got 2 cells, expected 3");
  expect_data_error("m,HR@5,HR@5\nx,0.1,0.2\n", "two columns HR@5");
  expect_data_error("m,HR@5,NDCG@5\n\"x,0.1,0.2\n", "t.csv:2: a quoted field");
}

}  // namespace
}  // namespace galrec::gal
