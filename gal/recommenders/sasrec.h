#pragma once
// SASRec [Kang & McAuley 2018] as S3-Rec trains it (methods.md section 3, variants s3rec and ce): a causal transformer over
// the items; every position predicts the next item, with one sampled negative (BCE) or against all items (CE).
// Sequences are packed: no padding token is ever computed.

#include <memory>
#include <optional>

#include "autograd/optimizer.h"
#include "autograd/parameter_store.h"
#include "autograd/tape.h"
#include "data/config.h"
#include "data/safetensors.h"
#include "gal/recommenders/recommender.h"
#include "kernels/common/host_view.h"
#include "layers/transformer/sasrec_encoder.h"

namespace galrec::gal {

enum class SasRecLoss { kBce, kCe };

struct SasRecOptions {
  layers::SasRecConfig encoder;  // item_size is set from the data
  SasRecLoss loss = SasRecLoss::kBce;
  double dropout = 0.5;
  double lr = 1e-3;
  std::int32_t batch = 256;  // users per step
  std::uint64_t seed = 1;
};

void add_sasrec_keys(data::ConfigSchema& schema);
SasRecOptions sasrec_options(const data::Config& config, std::uint64_t seed);

class SasRec final : public Recommender {
 public:
  /// `split` must outlive the model.
  SasRec(const Device& device, const data::Split& split, const SasRecOptions& options);
  /// A trained model in S3-Rec's parameter names: config.json and model.safetensors. DataError where it does not fit the
  /// data set.
  static std::unique_ptr<SasRec> from_s3rec_folder(const Device& device, const data::Split& split, const std::filesystem::path& folder);

  std::string kind() const override { return "sasrec"; }
  EpochReport train_epoch(const Device& device, std::int32_t epoch, const std::function<void(std::int64_t)>& progress) override;
  std::int64_t samples_per_epoch() const override { return static_cast<std::int64_t>(train_users_.size()); }
  void finish_epoch(const Device&) override {}
  /// The last state after each history's most recent max_seq_length items; zeros for an empty history.
  void queries(const Device& device, std::span<const data::UserId> users, std::span<const std::span<const data::ItemId>> histories,
               View<float, 2> out) const override;
  RankedItems<float> items() const override;
  /// Users: the last state after their training items.
  EmbeddingTables embeddings(const Device& device) override;
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;

 private:
  struct Batch {
    std::vector<std::int32_t> ids, cu, targets, negatives;  // rows of the item table
  };
  void build(Batch& batch, std::span<const data::UserId> users, std::int32_t epoch) const;
  autograd::Variable<float> step(const Batch& batch, std::int32_t epoch, std::uint32_t step_in_epoch);

  const data::Split* split_;
  SasRecOptions options_;
  std::vector<data::UserId> train_users_;  // with two training items or more
  std::vector<std::vector<data::ItemId>> sorted_sequence_;  // whole sequences: never drawn as negatives
  autograd::ParameterStore<float> store_;
  std::unique_ptr<layers::SasRecEncoder<float>> encoder_;
  std::unique_ptr<autograd::AdamW<float>> optimizer_;
  autograd::Tape<float> tape_;
  mutable autograd::Tape<float> query_tape_;
  Buffer<float> losses_;        // of the steps of an epoch, on the device
  Buffer<float> user_vectors_;  // on the host
  std::optional<HostView<float, 2>> item_vectors_;
};

}  // namespace galrec::gal
