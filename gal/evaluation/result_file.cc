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
                                    {"train_seconds", result.train_seconds},
                                    {"valid", valid.to_json(ks)},
                                    {"test", test.to_json(ks)}};
  data::AtomicFile file(run / "result.json");
  file.write(json.dump(1) + "\n");
  file.commit();
}

bool has_result(const fs::path& run) { return fs::exists(run / "result.json"); }

RunResult read_result(const fs::path& run) {
  const fs::path path = run / "result.json";
  std::ifstream in(path);
  if (!in) throw DataError(fmt::format("{}: cannot be read", path.string()));
  try {
    const auto j = nlohmann::ordered_json::parse(in);
    return {.model = j.value("model", "gal"),
            .best_epoch = j.at("best_epoch"),
            .epochs = j.at("epochs"),
            .train_seconds = j.value("train_seconds", 0.0),
            .valid = j.at("valid"),
            .test = j.at("test")};
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: {}", path.string(), e.what()));
  }
}

}  // namespace galrec::gal
