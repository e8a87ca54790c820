#pragma once
// One interface for the rows of the paper's Table I that are not language models: train by epochs, rank by a query vector
// per user against one row per item.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/split.h"
#include "gal/evaluation/full_ranking.h"
#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec::gal {

struct EpochReport {
  double loss = 0;             // mean over the epoch's samples
  std::int64_t samples = 0;
};

/// What a trained recommender offers to others as frozen vectors (methods.md rows 21 and 37), in host memory.
struct EmbeddingTables {
  View<const float, 2> user;         // (U,d)
  View<const float, 2> item;         // (I,d)
  View<const float, 2> item_prefix = {};  // (I,d) LightGCN only, else empty
};

/// The device that calls are given is the one the model was made for.
class Recommender {
 public:
  virtual ~Recommender() = default;

  /// "lightgcn", "sasrec": the kind recorded in files.
  virtual std::string kind() const = 0;
  /// One pass over the training data; a pure function of the parameters, the seed and `epoch`.
  virtual EpochReport train_epoch(const Device& device, std::int32_t epoch, const std::function<void(std::int64_t done)>& progress) = 0;
  virtual std::int64_t samples_per_epoch() const = 0;

  /// Brings query vectors and item rows up to date with the parameters; call after training or loading.
  virtual void finish_epoch(const Device& device) = 0;
  /// One query per history (oldest first), in host memory: score of item i = query . items().rows_(first_item + i). `user` may be -1 (unknown).
  virtual void queries(const Device& device, std::span<const data::UserId> users, std::span<const std::span<const data::ItemId>> histories,
                       View<float, 2> out) const = 0;  // (N,d)
  virtual RankedItems<float> items() const = 0;  // (I,d), on the device
  virtual EmbeddingTables embeddings(const Device& device) = 0;

  /// Parameters and optimiser state, under names of their own; load() throws DataError for what is missing or misshapen.
  virtual void save(const std::filesystem::path& folder) const = 0;
  virtual void load(const std::filesystem::path& folder) = 0;
};

}  // namespace galrec::gal
