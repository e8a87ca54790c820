#pragma once
// The tensors of a checkpoint folder:
//   model.safetensors     parameters under their own names, fp32      config.json   the T5's shape
//   training.safetensors  momentum.<name>, adam_m.<name>, adam_v.<name>, adam_steps, queue.*: what only training needs
// Their bytes depend on nothing but the values.

#include <filesystem>

#include "autograd/optimizer.h"
#include "gal/model.h"
#include "gal/momentum_encoder.h"
#include "gal/negative_queue.h"

namespace galrec::gal {

/// Everything that training changes. `momentum` and `queues` are null without graph-aware losses.
struct TrainedTensors {
  GalModel<float>& model;
  autograd::AdamW<float>& optimizer;
  MomentumEncoder<float>* momentum = nullptr;
  NegativeQueues<float>* queues = nullptr;
};

/// Fills an empty folder. DataError where it cannot be written.
void save_tensors(const std::filesystem::path& folder, const TrainedTensors& tensors);
/// DataError naming the file and the tensor that is missing, unknown or misshapen.
void load_tensors(const std::filesystem::path& folder, const TrainedTensors& tensors);

/// The parameters alone: for evaluation, and as the start of another run.
void load_model(const std::filesystem::path& folder, GalModel<float>& model);

}  // namespace galrec::gal
