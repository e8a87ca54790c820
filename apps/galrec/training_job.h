#pragma once
// One training run of the language model from a configuration: shared by `train` and `reproduce`.

#include <spdlog/spdlog.h>

#include "apps/galrec/commands.h"
#include "data/config.h"
#include "data/progress.h"
#include "data/run_folder.h"
#include "gal/training/trainer.h"

namespace galrec::apps {

/// Trains or resumes in `run`; SIGINT and SIGTERM stop after the step in progress with a checkpoint. max_steps 0: no limit.
gal::TrainResult train_model(const Device& device, const data::Config& config, data::RunFolder& run, spdlog::logger& log, data::ProgressStyle style,
                             std::int64_t max_steps);

}  // namespace galrec::apps
