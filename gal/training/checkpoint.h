#pragma once
// The tensors of a checkpoint folder:
//   model.safetensors     parameters under their own names, fp32      config.json   the T5's shape
//   training.safetensors  momentum.<name>, adam_m.<name>, adam_v.<name>, adam_steps, queue.*: what only training needs
// Their bytes depend on nothing but the values. What is computed in bf16 storage is saved as it is kept: parameters, averages and
// moments in fp32, the rows of the queues in bf16. Either storage reads the other's.

#include <filesystem>

#include "autograd/optimizer.h"
#include "gal/model.h"
#include "gal/momentum_encoder.h"
#include "gal/negative_queue.h"

namespace galrec::gal {

/// Everything that training changes. `momentum` and `queues` are null without graph-aware losses.
template <class T>
struct TrainedTensors {
  GalModel<T>& model;
  autograd::AdamW<T>& optimizer;
  MomentumEncoder<T>* momentum = nullptr;
  NegativeQueues<T>* queues = nullptr;
};

/// Fills an empty folder. DataError where it cannot be written.
template <class T>
void save_tensors(const std::filesystem::path& folder, const TrainedTensors<T>& tensors);
/// DataError naming the file and the tensor that is missing, unknown or misshapen.
template <class T>
void load_tensors(const std::filesystem::path& folder, const TrainedTensors<T>& tensors);

/// The parameters alone: for evaluation, and as the start of another run.
template <class T>
void load_model(const std::filesystem::path& folder, GalModel<T>& model);

}  // namespace galrec::gal
