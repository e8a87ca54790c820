#pragma once
// result.json: what a finished run found, for tables; and timing.json: how long it took. Two files, because the first has the
// same bytes however often the run was interrupted, and the second has not.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gal/evaluation/ranking.h"

namespace galrec::gal {

struct RunResult {
  std::string model;            // "lightgcn", "sasrec", "gal"
  std::int64_t best_epoch = 0;  // chosen on validation data
  std::int64_t epochs = 0;      // trained in all
  double train_seconds = 0;     // in steps (of the last call, where a run was resumed)
  nlohmann::ordered_json valid = {}, test = {};  // RankResult::to_json: "HR@10": …, …

  double value(const char* phase, const std::string& metric) const;
};

/// Atomically writes result.json and timing.json into the run folder, and ranks_valid.tsv, ranks_test.tsv beside it.
void write_result(const std::filesystem::path& run, RunResult result, const RankResult& valid, const RankResult& test,
                  const std::vector<std::int64_t>& ks);

bool has_result(const std::filesystem::path& run);
/// DataError where the file is missing or malformed.
RunResult read_result(const std::filesystem::path& run);

}  // namespace galrec::gal
