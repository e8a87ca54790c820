#include "apps/galrec/reproduction_table.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "gal/evaluation/metrics.h"
#include "gal/evaluation/paper_tables.h"
#include "gal/evaluation/result_file.h"

namespace galrec::apps {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

const char* const kMetrics[] = {"HR@5", "NDCG@5", "HR@10", "NDCG@10"};

std::string seed_of(const fs::path& run) {
  std::ifstream in(run / "env.json");
  const auto json = nlohmann::json::parse(in, nullptr, false);
  return json.is_object() && json.contains("seed") ? json["seed"].dump() : "?";
}

std::string paper_figure(const TableRow& row, const std::string& dataset, const char* metric) {
  if (row.paper.empty()) return "";
  const auto value = gal::paper_value(row.paper, dataset, gal::Metric::parse(metric));
  return value ? fmt::format("{:.4f}", *value) : "";
}

}  // namespace

void write_reproduction_table(const fs::path& out, const std::string& dataset, const std::string& command, const std::vector<TableRow>& rows) {
  std::string markdown = fmt::format("# {}\n\nLeave-one-out, full ranking, epochs chosen by validation NDCG@10; the figures are of the test items, validation HR and NDCG are at 10.\nMade by `{}`.\n\n", dataset, command);
  std::string csv = "method,dataset";
  markdown += "| method |";
  for (const char* m : kMetrics) markdown += fmt::format(" {} |", m), csv += fmt::format(",{}", m);
  // Names without "@": `verify` reads only the measured columns as metrics.
  csv += ",paper_hr5,paper_ndcg5,paper_hr10,paper_ndcg10,valid_ndcg10,best_epoch,seed,train_seconds\n";
  markdown += " paper (same order) | validation HR | validation NDCG | epoch | seed | training |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
  ordered_json json{{"dataset", dataset}, {"command", command}, {"rows", ordered_json::array()}};
  for (const auto& row : rows) {
    const auto result = gal::read_result(row.folder);
    const std::string seed = seed_of(row.folder);
    ordered_json entry{{"method", row.label}, {"folder", row.folder.string()}, {"best_epoch", result.best_epoch}, {"seed", seed}, {"train_seconds", result.train_seconds}};
    markdown += fmt::format("| {} |", row.label);
    csv += fmt::format("{},{}", row.label, dataset);
    std::string paper;
    for (const char* m : kMetrics) {
      markdown += fmt::format(" {:.4f} |", result.value("test", m));
      csv += fmt::format(",{:.5f}", result.value("test", m));
      const std::string figure = paper_figure(row, dataset, m);
      paper += (paper.empty() ? "" : ", ") + (figure.empty() ? "-" : figure);
    }
    for (const char* m : kMetrics) csv += "," + paper_figure(row, dataset, m);
    markdown += fmt::format(" {} | {:.4f} | {:.4f} | {} | {} | {:.0f} s |\n", paper == "-, -, -, -" ? "" : paper, result.value("valid", "HR@10"),
                            result.value("valid", "NDCG@10"), result.best_epoch, seed, result.train_seconds);
    csv += fmt::format(",{:.5f},{},{},{:.1f}\n", result.value("valid", "NDCG@10"), result.best_epoch, seed, result.train_seconds);
    entry["valid"] = result.valid;
    entry["test"] = result.test;
    json["rows"].push_back(entry);
  }
  data::write_file(out / "table.md", markdown);
  data::write_file(out / "table.csv", csv);
  data::write_file(out / "table.json", json.dump(1) + "\n");
  fmt::print("{}", markdown);
}

}  // namespace galrec::apps
