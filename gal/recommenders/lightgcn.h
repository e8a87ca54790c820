#pragma once
// LightGCN [He et al. 2020]: embeddings propagated over the normalised user-item graph, trained with BPR.
//
//   E^{k+1} = D^-1/2 A D^-1/2 E^k,   E = mean_k E^k,   score(u, i) = E_u . E_i
//   loss = mean softplus(s- - s+) + l2 / (2B) (|e_u|^2 + |e_i+|^2 + |e_i-|^2) on the layer-0 rows
//
// Per epoch |train| triples: a uniform user, a uniform item of its history, a uniform item outside it.

#include <memory>

#include "autograd/optimizer.h"
#include "autograd/parameter_store.h"
#include "autograd/tape.h"
#include "data/config.h"
#include "gal/recommenders/recommender.h"
#include "kernels/spmm/spmm.h"

namespace galrec::gal {

struct LightGcnOptions {
  std::int32_t dim = 64;
  std::int32_t layers = 3;
  double lr = 1e-3;
  double l2 = 1e-4;
  std::int32_t batch = 2048;
  double init_std = 0.1;
  std::uint64_t seed = 1;
};

void add_lightgcn_keys(data::ConfigSchema& schema);
LightGcnOptions lightgcn_options(const data::Config& config, std::uint64_t seed);

class LightGcn final : public Recommender {
 public:
  /// `split` must outlive the model; only its training part becomes edges (repeated interactions are one edge).
  LightGcn(const Device& device, const data::Split& split, const LightGcnOptions& options);

  std::string kind() const override { return "lightgcn"; }
  EpochReport train_epoch(const Device& device, std::int32_t epoch, const std::function<void(std::int64_t)>& progress) override;
  std::int64_t samples_per_epoch() const override { return samples_; }
  void finish_epoch(const Device& device) override;
  /// Known users take their propagated vector; unknown ones (user -1) the prefix vector of their history.
  void queries(const Device& device, std::span<const data::UserId> users, std::span<const std::span<const data::ItemId>> histories,
               View<float, 2> out) const override;
  RankedItems<float> items() const override;
  EmbeddingTables embeddings(const Device& device) override;
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;

 private:
  struct Triples {
    std::vector<std::int32_t> user, positive, negative;  // node ids: items follow the users
  };
  void draw(CpuContext& ctx, Triples& out, std::int32_t epoch, std::int64_t first, std::int64_t count) const;
  autograd::Variable<float> step(const Triples& triples);
  CsrView graph() const { return {row_ptr_.view(), col_idx_.view()}; }

  const data::Split* split_;
  LightGcnOptions options_;
  std::int32_t users_, items_;
  std::int64_t samples_ = 0;
  std::vector<data::UserId> active_users_;  // users with a training item and an item to be negative
  std::vector<std::vector<data::ItemId>> sorted_history_;
  Buffer<std::int32_t> row_ptr_, col_idx_;  // (U+I, U+I), symmetric, on the device
  std::vector<float> inv_sqrt_;             // degree^-1/2, 0 for isolated nodes
  Buffer<float> device_inv_sqrt_;           // the same on the device
  autograd::ParameterStore<float> store_;
  autograd::ParameterId embedding_;
  std::unique_ptr<autograd::AdamW<float>> optimizer_;
  autograd::Tape<float> tape_;
  Buffer<float> losses_;       // of the steps of an epoch, on the device
  Buffer<float> final_;        // (U+I,d) mean of layers, on the host
  Buffer<float> items_final_;  // (I,d) its item rows on the device, where that is not the host
  Buffer<float> item_prefix_;  // (I,d) 1/(K+1) sum_{k<K} e_i^k deg_i^-1/2
};

}  // namespace galrec::gal
