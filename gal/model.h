#pragma once
// The GAL model: T5 over text and id tokens, trained on the recommendation prompt (paper eq. 1) and the six alignment
// losses (eq. 18), ranking all items with one decoder step.

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "autograd/parameter_store.h"
#include "autograd/tape.h"
#include "gal/contrastive_loss.h"
#include "gal/graph_encoder.h"
#include "gal/hop_batch.h"
#include "gal/negative_queue.h"
#include "gal/options.h"
#include "layers/t5/decoder.h"

namespace galrec::gal {

/// All on the tape, in the memory of its device; gal/step_report.h brings figures to the host.
template <class T>
struct StepResult {
  autograd::Variable<Acc<T>> loss;          ///< (1,1)
  autograd::Variable<Acc<T>> l0;            ///< (1,1) cross-entropy of the recommendation
  std::array<autograd::Variable<Acc<T>>, kTerms> nce{};  ///< (1,1) each: L1u L1i L2u L2i L3u L3i, before their weights; or empty
  std::array<TermRows<T>, kTerms> rows{};   ///< per anchor
  View<const T, 2> embeddings;  ///< (samples * 6, d) pooled, not normalised; empty for HopSet::kRecommendOnly
  Keys<T> query_keys;           ///< unit rows of u0, u2, i0, i2 for QueueEncoder::kQuery; empty without the losses
};

/// T is the storage of activations and of what products read; parameters, losses and gradients of parameters are Acc<T>.
template <class T>
class GalModel {
 public:
  /// Registers and allocates all parameters: shared.weight (V,d), encoder.*, decoder.*, g_user.*, g_item.*,
  /// lm_head.weight (V+U+I, d), always untied. Values are zero until initialize() or load_pretrained().
  /// Everything lies in `memory`, which must outlive the model.
  explicit GalModel(ModelOptions options, MemoryResource& memory = host_memory());
  GalModel(const GalModel&) = delete;
  GalModel& operator=(const GalModel&) = delete;

  const ModelOptions& options() const { return options_; }
  autograd::ParameterStore<T>& parameters() { return store_; }
  const autograd::ParameterStore<T>& parameters() const { return store_; }
  const ExternalTables<T>& external() const { return external_; }

  /// The vectors h, copied: constants, or the start of the trainable rows. Comes before the initialisation.
  void set_external(View<const float, 2> h_user, View<const float, 2> h_item);
  void set_external(View<const double, 2> h_user, View<const double, 2> h_item);
  /// Random weights for everything, keyed by (seed, name); then as initialize_ids().
  void initialize(const Device& device, std::uint64_t seed);
  /// T5 weights from a Hugging Face folder (or file), the head's text rows from its head or, tied, its embedding; then
  /// initialize_ids(). DataError naming what does not fit.
  void load_pretrained(const Device& device, const std::filesystem::path& folder, std::uint64_t seed);
  /// g random, rescaled so that embedded ids have the root mean square of `shared` (methods.md row 19); head rows of
  /// ids d^-1/2 times their embedding, or random (row 17).
  void initialize_ids(const Device& device, std::uint64_t seed);

  /// The loss of a batch. HopSet::kRecommendOnly: the cross-entropy alone; `queues` may then be null. `momentum_keys`
  /// are this batch's, for Positive::kMomentum. The batch may change once this returns.
  StepResult<T> forward(autograd::Tape<T>& tape, const HopBatch& batch, const NegativeQueues<T>* queues,
                        const LossOptions& loss, const layers::DropoutRates& rates,
                        const Keys<T>* momentum_keys = nullptr);
  /// The same of a batch that lies on the device for as long as the step takes: nothing crosses from the host.
  StepResult<T> forward(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, const NegativeQueues<T>* queues,
                        const LossOptions& loss, const layers::DropoutRates& rates,
                        const Keys<T>* momentum_keys = nullptr);

  /// Decoder state of each sample's u2 prompt at the first step, times logit_scale: (samples, d). Scores of all items
  /// are its product with item_head().
  autograd::Variable<T> rank_states(autograd::Tape<T>& tape, const HopBatch& batch,
                                    const layers::DropoutRates& rates = layers::DropoutRates::none());
  View<const Acc<T>, 2> item_head() const;  // (items, d), on the device
  /// Embeddings of text, users and items as one table (V+U+I, d) in host memory: `shared` of an exported Hugging Face model.
  void embedding_table(const Device& device, View<Acc<T>, 2> out) const;
  double logit_scale() const { return logit_scale_; }

 private:
  struct Encoded {
    autograd::Variable<Acc<T>> table;
    autograd::Variable<T> states, recommend_states;
    View<const std::int32_t, 1> recommend_cu;
  };
  DeviceBatch<T> place(autograd::Tape<T>& tape, const HopBatch& batch) const;
  Encoded encode(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, const layers::DropoutRates& rates);
  autograd::Variable<T> decode(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, const Encoded& encoded, int steps,
                               const layers::DropoutRates& rates);
  autograd::Variable<Acc<T>> recommendation_loss(autograd::Tape<T>& tape, const DeviceBatch<T>& batch,
                                                 const Encoded& encoded, const LossOptions& loss,
                                                 const layers::DropoutRates& rates);
  template <class Source>
  void copy_external(View<const Source, 2> h_user, View<const Source, 2> h_item);

  ModelOptions options_;
  double logit_scale_ = 1;
  autograd::ParameterStore<T> store_;
  ExternalTables<T> external_;
  std::unique_ptr<GraphEncoder<T>> encoder_;
  std::unique_ptr<layers::T5Decoder<T>> decoder_;
  autograd::ParameterId head_ = -1;
};

extern template class GalModel<float>;
extern template class GalModel<double>;
extern template class GalModel<bfloat16>;

}  // namespace galrec::gal
