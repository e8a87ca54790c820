#pragma once
// How a model is trained, and the presets: layers of configuration between the defaults and the user's file.

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "data/config.h"
#include "gal/evaluation/metrics.h"
#include "layers/dropout_rates.h"

namespace galrec::gal {

/// Whether steps on a CUDA device are captured in graphs. The bits are the same.
enum class GraphUse { kOn, kOff };

/// Keys train.*, cuda.* and model.*dropout. The defaults are the paper's (methods.md section 4 rows 27 to 29).
struct TrainOptions {
  std::int64_t epochs = 20;
  std::int64_t batch = 64;             ///< samples per optimiser step
  std::int64_t micro_batch = 8;        ///< samples per forward and backward pass
  double lr = 1e-4;
  double warmup = 0.05;                ///< share of all steps
  double clip = 1.0;                   ///< largest global gradient norm; 0: no clipping
  autograd::AdamWSettings adamw{.weight_decay = 1e-3};
  std::int64_t patience = 3;           ///< validations without a better score until the end; 0: never
  std::int64_t eval_every = 1;         ///< epochs between validations
  Metric metric{MetricKind::kNdcg, 10};  ///< what validation selects by
  std::int64_t log_every = 20;         ///< steps per line of metrics.jsonl
  std::int64_t statistics_every = 100; ///< steps between hop statistics; 0: never
  double checkpoint_minutes = 10;      ///< time between checkpoints within an epoch
  GraphUse graph = GraphUse::kOn;
  std::int64_t bucket = 1024;  ///< tokens that the prompts of a step on CUDA are padded to multiples of; 0: none
  std::string warm_start;              ///< folder of a checkpoint whose parameters training starts from
  layers::DropoutRates dropout;
};

/// Declares train.*, cuda.*, model.preset, model.checkpoint, model.dropout and model.embedding_dropout.
void add_train_keys(data::ConfigSchema& schema);
/// UsageError for values that do not go together.
TrainOptions train_options(const data::Config& config);

/// nano, mini, flan-t5-small, flan-t5-base, flan-t5-large.
const std::vector<std::string>& preset_names();
/// Loads a preset's values (its source reads "preset nano"); call it before the user's file and overrides. The schema
/// must have the keys of add_train_keys() and add_gal_keys(). UsageError for an unknown name.
void apply_preset(data::Config& config, const std::string& name);

}  // namespace galrec::gal
