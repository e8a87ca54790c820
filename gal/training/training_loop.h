#pragma once
// Epochs, validation, early stopping, checkpoints, resume: everything about a training run that does not depend on what
// is trained. A run that was killed and resumed goes through exactly the states of one that was not, because a step is a
// function of the checkpointed state and of its number alone.

#include <spdlog/logger.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "data/progress.h"
#include "data/run_folder.h"
#include "gal/training/training_state.h"

namespace galrec::gal {

/// One optimiser step: samples [first, first + count) of epoch `epoch`, all counted from 0.
struct StepPlan {
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// What validation found; `figures` go into metrics.jsonl.
struct Validation {
  double score = 0;
  nlohmann::ordered_json figures;
};

/// What the loop trains.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  virtual std::int64_t samples_per_epoch() const = 0;
  /// Called before the first step of an epoch, and again where a resumed run enters it.
  virtual void begin_epoch(std::int64_t epoch) = 0;
  /// One step; the figures are means over its samples, "loss" among them. NumericalError for what is not finite.
  virtual Figures step(const StepPlan& plan) = 0;
  virtual Validation validate() = 0;

  /// What a resumed run must share with this one besides its configuration: data, seed, frozen vectors.
  virtual nlohmann::ordered_json identity() const = 0;
  /// All tensors, into an empty folder; bytes depend on the state of training alone.
  virtual void save(const std::filesystem::path& folder) const = 0;
  virtual void load(const std::filesystem::path& folder) = 0;
};

struct LoopOptions {
  std::int64_t epochs = 20;
  std::int64_t batch = 64;
  std::int64_t patience = 3;
  std::int64_t eval_every = 1;
  std::int64_t log_every = 20;
  double checkpoint_minutes = 10;
};

/// What may end this call before training is over; the next call goes on from there.
struct LoopLimits {
  std::int64_t max_steps = 0;                ///< of the whole run; 0: none
  const std::atomic<bool>* stop = nullptr;   ///< set by a signal handler
  std::function<void(const TrainingState&)> after_step = {};
};

enum class StopReason { kFinished, kMaxSteps, kStopped };

struct LoopResult {
  StopReason reason = StopReason::kFinished;
  TrainingState state;
  std::int64_t steps = 0;            ///< of this call
  double step_seconds = 0;           ///< in steps, without validation and checkpoints
  double samples_per_second = 0;
};

class TrainingLoop {
 public:
  TrainingLoop(TrainingTask& task, data::RunFolder& run, const LoopOptions& options, spdlog::logger& log,
               data::ProgressStyle style);

  /// Steps of an epoch, and of all of them.
  std::int64_t steps_per_epoch() const;
  std::int64_t total_steps() const { return steps_per_epoch() * options_.epochs; }

  /// Starts, or continues from last/ where the run folder has one. Leaves last/ and best/ behind. UsageError where the
  /// task has no samples or last/ belongs to other inputs.
  LoopResult run(const LoopLimits& limits = {});

 private:
  void enter();
  bool limited(const LoopLimits& limits, StopReason& reason) const;
  void one_step(data::Progress& progress, LoopResult& result);
  void end_epoch();
  void log_window();
  void save(const char* name);

  TrainingTask& task_;
  data::RunFolder& run_;
  LoopOptions options_;
  spdlog::logger& log_;
  data::ProgressStyle style_;
  TrainingState state_;
  std::int64_t saved_step_ = -1;
  double last_save_ = 0;        // seconds of the steady clock
  double window_seconds_ = 0;
  std::int64_t window_samples_ = 0;
};

}  // namespace galrec::gal
