#pragma once
// What every command that works on a run needs, opened in one place: the data set, its split, the vocabulary, the
// external embeddings, the batch builder.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "data/config.h"
#include "data/dataset.h"
#include "data/id_tokens.h"
#include "data/split.h"
#include "data/tokenizer.h"
#include "gal/batch_builder.h"
#include "gal/external_embeddings.h"
#include "gal/model.h"
#include "gal/options.h"
#include "gal/recommenders/recommender.h"
#include "kernels/common/context.h"

namespace galrec::gal {

/// All keys of a training run: run.*, data.*, external.*, model.*, sample.*, loss.*, queue.*, train.*, eval.* …
data::ConfigSchema train_schema();
/// All keys of a pre-training run: run.*, data.*, pretrain.*, lightgcn.*, sasrec.*, eval.*.
data::ConfigSchema pretrain_schema();

/// run.kind of a run folder: "gal", "lightgcn" or "sasrec". DataError where config.toml does not tell.
std::string run_kind(const std::filesystem::path& run);

/// The split that data.split names.
data::Split make_split(const data::Dataset& dataset, const data::Config& config);

/// Opens what a training run's configuration names. Members refer to each other: not movable.
class Session {
 public:
  /// Batches are built on the host of `device`. `vocabulary` is the SentencePiece model to use; see find_vocabulary(). UsageError or DataError naming key or file.
  Session(const Device& device, const data::Config& config, const std::filesystem::path& vocabulary);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const data::Dataset& dataset() const { return dataset_; }
  const data::Split& split() const { return split_; }
  const data::Tokenizer& tokenizer() const { return tokenizer_; }
  const ExternalEmbeddings& external() const { return external_; }
  const GalOptions& options() const { return options_; }
  std::uint64_t seed() const { return seed_; }
  BatchBuilder& builder() { return *builder_; }

  /// A model of the configured shape on `device` with its external vectors set; parameters are still zero.
  template <class T>
  std::unique_ptr<GalModel<T>> make_model(const Device& device) const;
  /// Its starting weights: random, or model.checkpoint's.
  template <class T>
  void initialize(const Device& device, GalModel<T>& model) const;

 private:
  void attach_prefix_model(CpuContext& host);

  const data::Config config_;
  std::uint64_t seed_;
  GalOptions options_;
  data::Dataset dataset_;
  data::Split split_;
  data::Tokenizer tokenizer_;
  ExternalEmbeddings external_;
  std::unique_ptr<Recommender> prefix_model_;
  std::unique_ptr<BatchBuilder> builder_;
};

/// f.template operator()<T>() for the storage T in which a model is computed on a device: bf16 on a CUDA device whose context
/// multiplies bf16, else float. (The CPU keeps fp32 storage whatever its products are.)
template <class F>
decltype(auto) in_storage(const Device& device, F&& f) {
  const bool narrow = device.kind() == DeviceKind::kCuda && device.cuda().gemm_precision() == GemmPrecision::kBf16;
  return narrow ? f.template operator()<bfloat16>() : f.template operator()<float>();
}

/// The vocabulary of a run: data.tokenizer, the checkpoint's spiece.model, the data set's, or else one trained on templates and
/// titles. Whatever it is, `copy` becomes a copy of it (unless it exists), so that the run folder is complete.
std::filesystem::path find_vocabulary(const data::Config& config, const std::filesystem::path& copy);

}  // namespace galrec::gal
