#pragma once
// A training run from start to finish: train, keep the best checkpoint by validation, rank both held-out items with it.

#include <memory>

#include "gal/training/gal_task.h"

namespace galrec::gal {

struct TrainResult {
  LoopResult loop;
  RankResult valid;  ///< of the best checkpoint; both empty where the run stopped before its end
  RankResult test;
};

template <class T>
class Trainer {
 public:
  /// UsageError where there is nothing to train on. A warm start (train.warm_start) loads here, unless the run is resumed.
  Trainer(const Device& device, const TrainerParts<T>& parts, data::RunFolder& run, spdlog::logger& log, data::ProgressStyle style);

  std::int64_t samples_per_epoch() const { return task_->samples_per_epoch(); }
  std::int64_t steps_per_epoch() const { return loop_->steps_per_epoch(); }
  std::int64_t total_steps() const { return loop_->total_steps(); }

  /// Starts or resumes. A finished run gets result.json (metrics of validation and test side by side) and
  /// ranks_valid.tsv, ranks_test.tsv; the model then holds the best checkpoint's parameters. The test items are looked at
  /// once, here. NumericalError where a loss or gradient is not finite; last/ and best/ stay as they were.
  TrainResult run(const LoopLimits& limits = {});

 private:
  void finish(TrainResult& result);
  void log_graphs() const;

  Device device_;
  TrainerParts<T> parts_;
  data::RunFolder& run_;
  spdlog::logger& log_;
  data::ProgressStyle style_;
  std::unique_ptr<GalTask<T>> task_;
  std::unique_ptr<TrainingLoop> loop_;
};

/// The parts from a configuration: GalOptions, TrainOptions and RankingOptions of its keys.
template <class T>
TrainerParts<T> trainer_parts(const data::Config& config, const data::Split& split, BatchBuilder& builder,
                              const ExternalEmbeddings& external, GalModel<T>& model, std::uint64_t seed) {
  return {.split = split,
          .builder = builder,
          .external = external,
          .model = model,
          .gal = GalOptions::from_config(config),
          .train = train_options(config),
          .ranking = ranking_options(config),
          .seed = seed};
}

extern template class Trainer<float>;
extern template class Trainer<bfloat16>;

}  // namespace galrec::gal
