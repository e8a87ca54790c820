#include "gal/training/training_state.h"

#include <algorithm>
#include <string_view>

#include "data/atomic_file.h"
#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

constexpr const char* kFile = "state.json";
constexpr std::pair<Ending, std::string_view> kEndings[] = {
    {Ending::kNone, "none"}, {Ending::kEpochs, "epochs"}, {Ending::kPatience, "patience"}};

}  // namespace

void Averages::add(const Figures& figures, std::int64_t samples) {
  for (const auto& figure : figures) {
    auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == figure.first; });
    if (entry == entries_.end()) entry = entries_.insert(entry, {figure.first, 0, 0});
    entry->sum += figure.second * static_cast<double>(samples);
    entry->samples += samples;
  }
}

Figures Averages::means() const {
  Figures out;
  for (const Entry& e : entries_) out.emplace_back(e.name, e.samples == 0 ? 0 : e.sum / static_cast<double>(e.samples));
  return out;
}

nlohmann::ordered_json Averages::to_json() const {
  auto out = nlohmann::ordered_json::array();
  for (const Entry& e : entries_) out.push_back({e.name, e.sum, e.samples});
  return out;
}

Averages Averages::from_json(const nlohmann::ordered_json& json) {
  Averages out;
  for (const auto& e : json) out.entries_.push_back({e.at(0).get<std::string>(), e.at(1).get<double>(), e.at(2).get<std::int64_t>()});
  return out;
}

nlohmann::ordered_json TrainingState::to_json() const {
  const auto* name = std::find_if(std::begin(kEndings), std::end(kEndings), [&](const auto& e) { return e.first == ending; });
  return {{"step", step},
          {"epoch", epoch},
          {"position", position},
          {"best_score", best_score},
          {"best_epoch", best_epoch},
          {"best_step", best_step},
          {"stale", stale},
          {"ending", name->second},
          {"window", window.to_json()},
          {"epoch_means", epoch_means.to_json()}};
}

TrainingState TrainingState::from_json(const nlohmann::ordered_json& json) {
  TrainingState s;
  s.step = json.at("step").get<std::int64_t>();
  s.epoch = json.at("epoch").get<std::int64_t>();
  s.position = json.at("position").get<std::int64_t>();
  s.best_score = json.at("best_score").get<double>();
  s.best_epoch = json.at("best_epoch").get<std::int64_t>();
  s.best_step = json.at("best_step").get<std::int64_t>();
  s.stale = json.at("stale").get<std::int64_t>();
  const auto ending = json.at("ending").get<std::string>();
  const auto* known = std::find_if(std::begin(kEndings), std::end(kEndings), [&](const auto& e) { return e.second == ending; });
  if (known == std::end(kEndings)) throw DataError(fmt::format("ending: got '{}', expected none, epochs or patience", ending));
  s.ending = known->first;
  s.window = Averages::from_json(json.at("window"));
  s.epoch_means = Averages::from_json(json.at("epoch_means"));
  if (s.step < 0 || s.epoch < 0 || s.position < 0) throw DataError("step, epoch and position: expected no negative numbers");
  return s;
}

void write_state(const std::filesystem::path& folder, const TrainingState& state, const nlohmann::ordered_json& identity) {
  const nlohmann::ordered_json file = {{"identity", identity}, {"state", state.to_json()}};
  data::write_file(folder / kFile, file.dump(1) + "\n");
}

TrainingState read_state(const std::filesystem::path& folder, const nlohmann::ordered_json& identity) {
  const auto path = folder / kFile;
  const std::string text = data::read_file(path);
  nlohmann::ordered_json recorded;
  TrainingState state;
  try {
    const auto file = nlohmann::ordered_json::parse(text);
    recorded = file.at("identity");
    state = TrainingState::from_json(file.at("state"));
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: expected the state of a training run: {}", path.string(), e.what()));
  } catch (const DataError& e) {
    throw DataError(fmt::format("{}: {}", path.string(), e.what()));
  }
  std::string differing;
  for (const auto& [key, value] : identity.items()) {
    const auto before = recorded.is_object() ? recorded.value(key, nlohmann::ordered_json()) : nlohmann::ordered_json();
    if (before != value) differing += fmt::format("\n  {}: the run has {}, now {}", key, before.dump(), value.dump());
  }
  if (!differing.empty())
    throw UsageError(fmt::format("{}: the run was started with other inputs:{}", folder.string(), differing));
  return state;
}

}  // namespace galrec::gal
