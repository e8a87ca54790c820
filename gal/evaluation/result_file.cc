#include "gal/evaluation/result_file.h"

#include <fstream>

#include "data/atomic_file.h"
#include "kernels/common/check.h"

namespace galrec::gal {

namespace fs = std::filesystem;

double RunResult::value(const char* phase, const std::string& metric) const {
  return (std::string(phase) == "valid" ? valid : test).at(metric).get<double>();
}

void write_result(const fs::path& run, RunResult result, const RankResult& valid, const RankResult& test, const std::vector<std::int64_t>& ks) {
  write_ranks(run / "ranks_valid.tsv", valid);
  write_ranks(run / "ranks_test.tsv", test);
  const nlohmann::ordered_json json{{"model", result.model},
                                    {"best_epoch", result.best_epoch},
                                    {"epochs", result.epochs},
                                    {"valid", valid.to_json(ks)},
                                    {"test", test.to_json(ks)}};
  const nlohmann::ordered_json timing{{"train_seconds", result.train_seconds}};
  data::write_file(run / "timing.json", timing.dump() + "\n");
  data::write_file(run / "result.json", json.dump(1) + "\n");
}

bool has_result(const fs::path& run) { return fs::exists(run / "result.json"); }

namespace {

nlohmann::ordered_json read_json(const fs::path& path) {
  std::ifstream in(path);
  if (!in) throw DataError(fmt::format("{}: cannot be read", path.string()));
  try {
    return nlohmann::ordered_json::parse(in);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: {}", path.string(), e.what()));
  }
}

}  // namespace

RunResult read_result(const fs::path& run) {
  const fs::path path = run / "result.json";
  const auto j = read_json(path);
  const auto timing = read_json(run / "timing.json");
  try {
    return {.model = j.at("model"),
            .best_epoch = j.at("best_epoch"),
            .epochs = j.at("epochs"),
            .train_seconds = timing.at("train_seconds"),
            .valid = j.at("valid"),
            .test = j.at("test")};
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: {}", path.string(), e.what()));
  }
}

}  // namespace galrec::gal
