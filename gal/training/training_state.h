#pragma once
// Where training stands: everything besides tensors that a resumed run needs to continue to the same bits.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace galrec::gal {

/// Named figures in a fixed order: "loss", "L0", "L1u", …
using Figures = std::vector<std::pair<std::string, double>>;

/// Means of figures weighted by samples. Figures that appear only in some steps are averaged over those.
class Averages {
 public:
  void add(const Figures& figures, std::int64_t samples);
  Figures means() const;
  void clear() { entries_.clear(); }

  nlohmann::ordered_json to_json() const;
  static Averages from_json(const nlohmann::ordered_json& json);

 private:
  struct Entry {
    std::string name;
    double sum = 0;
    std::int64_t samples = 0;
  };
  std::vector<Entry> entries_;
};

enum class Ending { kNone, kEpochs, kPatience };

struct TrainingState {
  std::int64_t step = 0;      ///< optimiser steps done
  std::int64_t epoch = 0;     ///< epochs done, their validation included
  std::int64_t position = 0;  ///< samples of the current epoch done
  double best_score = 0;      ///< of the best validation so far
  std::int64_t best_epoch = 0;  ///< after which epoch (from 1) it was; 0: none yet
  std::int64_t best_step = 0;
  std::int64_t stale = 0;     ///< validations since then
  Ending ending = Ending::kNone;
  Averages window;            ///< of the steps since the last line of metrics
  Averages epoch_means;       ///< of the current epoch

  nlohmann::ordered_json to_json() const;
  static TrainingState from_json(const nlohmann::ordered_json& json);
};

/// state.json in `folder`: the state and what identifies the run's inputs.
void write_state(const std::filesystem::path& folder, const TrainingState& state, const nlohmann::ordered_json& identity);
/// DataError where the file is missing or malformed; UsageError naming the keys where `identity` differs from the recorded one.
TrainingState read_state(const std::filesystem::path& folder, const nlohmann::ordered_json& identity);

}  // namespace galrec::gal
