#pragma once
// One GAL step after another: what the training loop trains. A step (paper algorithm 1) is, for each micro-batch: build
// the prompts, forward, backward, keys into the queues; then once: clip, AdamW, momentum update. On CUDA each of these
// is captured in a graph when it comes again in the same shape, and replayed (docs/cuda.md).

#include <cstdint>
#include <memory>
#include <vector>

#include "autograd/optimizer.h"
#include "autograd/tape.h"
#include "data/split.h"
#include "gal/batch_builder.h"
#include "gal/evaluation/ranking.h"
#include "gal/model.h"
#include "gal/momentum_encoder.h"
#include "gal/negative_queue.h"
#include "gal/options.h"
#include "gal/step_report.h"
#include "gal/training/checkpoint.h"
#include "gal/training/schedule.h"
#include "gal/training/train_options.h"
#include "gal/training/training_loop.h"
#include "kernels/common/step_graphs.h"

namespace galrec::gal {

/// What a run trains, on what, and how. The references must outlive the task. T is the storage of activations.
template <class T>
struct TrainerParts {
  const data::Split& split;
  BatchBuilder& builder;
  const ExternalEmbeddings& external;
  GalModel<T>& model;  ///< with its starting weights
  GalOptions gal;
  TrainOptions train;
  RankingOptions ranking;
  std::uint64_t seed = 1;
};

template <class T>
class GalTask : public TrainingTask {
 public:
  GalTask(const Device& device, const TrainerParts<T>& parts);

  std::int64_t samples_per_epoch() const override { return samples_per_epoch_; }
  void begin_epoch(std::int64_t epoch) override;
  Figures step(const StepPlan& plan) override;
  Validation validate() override;
  nlohmann::ordered_json identity() const override { return identity_; }
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;
  /// The most memory that activations and their gradients have taken.
  std::size_t step_bytes() { return tape_.arena().peak_bytes() + key_tape_.arena().peak_bytes(); }
  /// How the pieces of steps were run: micro-batches and updates.
  const StepGraphs& graphs() const { return graphs_; }
  StepGraphs& graphs() { return graphs_; }

 private:
  /// What a micro-batch leaves on the host: the same after a replay.
  struct PassOutcome {
    typename StepReport<T>::Pass figures;
    std::vector<bool> written;  // gradients
  };

  nlohmann::ordered_json make_identity() const;
  void micro_batch(const StepPlan& plan, std::int64_t first, std::int64_t count, bool statistics);
  StepGraphs::Key pass_key(const std::vector<std::int64_t>& extents, double share) const;
  /// Forward and backward. `share` is the micro-batch's part of the mean over the optimiser's batch.
  StepResult<T> forward_backward(const DeviceBatch<T>& batch, std::uint32_t draw, double share, Keys<T>& keys);
  void push_keys(const DeviceBatch<T>& batch, std::uint32_t draw, Keys<T> keys, const StepResult<T>& result);
  void reset_tape(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, std::uint32_t draw, std::uint32_t stream);
  void update(double lr);
  Figures statistics_of(const StepResult<T>& result) const;
  Figures figures_of(const StepFigures& pass) const;
  void require_finite(const StepFigures& pass, const StepPlan& plan, std::int64_t first) const;
  void require_finite_losses(const StepPlan& plan) const;
  [[noreturn]] void fail_gradient(const StepPlan& plan, double norm) const;
  Keys<T> momentum_keys(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, std::uint32_t draw);
  bool keys_come_first() const {
    return parts_.gal.loss.contrastive() && parts_.gal.loss.positive == Positive::kMomentum;
  }
  bool uses_graphs() const { return device_.kind() == DeviceKind::kCuda && parts_.train.graph == GraphUse::kOn; }
  TrainedTensors<T> tensors() const;

  Device device_;
  TrainerParts<T> parts_;
  HopSet hops_;
  std::int64_t samples_per_epoch_;
  LinearSchedule schedule_;
  autograd::AdamW<T> optimizer_;
  std::unique_ptr<MomentumEncoder<T>> momentum_;  // null where nothing needs its keys
  std::unique_ptr<NegativeQueues<T>> queues_;     // null without graph-aware losses
  autograd::Tape<T> tape_;
  autograd::Tape<T> key_tape_;                    // only where keys must live beside the step's own tape
  StepReport<T> report_;                          // of the micro-batches of the step in progress
  Figures statistics_;                                // of its last micro-batch, where wanted
  HopBatch batch_;
  Buffer<std::byte> lists_;     // the batch on the device
  Buffer<double> lr_and_step_;  // (2) on a CUDA device
  StepGraphs graphs_;  // those of micro-batches with their PassOutcome
  std::vector<TrainSample> samples_;                  // of the epoch, in order
  nlohmann::ordered_json identity_;
};

extern template class GalTask<float>;
extern template class GalTask<bfloat16>;

}  // namespace galrec::gal
