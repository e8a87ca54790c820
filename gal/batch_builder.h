#pragma once
// From samples to packed batches: draws neighbours, writes the prompts, collects the rows that they need.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/prompt_templates.h"
#include "data/split.h"
#include "gal/external_embeddings.h"
#include "gal/hop_batch.h"
#include "gal/hop_sampler.h"
#include "gal/options.h"

namespace galrec::gal {

/// Builds batches. Everything is a function of (seed, epoch, sample), never of the batch around it or of threads. The
/// references must outlive the builder. Not for concurrent calls.
class BatchBuilder {
 public:
  /// UsageError where `options` asks for prefix vectors that `external` cannot give.
  BatchBuilder(CpuContext& ctx, const data::Split& split, const data::CompiledTemplates& templates,
               const ExternalEmbeddings& external, const SamplingOptions& options, std::uint64_t seed);

  /// Training prompts; neighbours, i0 and drops are drawn anew for each `epoch`.
  void build(HopBatch& batch, std::span<const TrainSample> samples, HopSet hops, std::uint32_t epoch);
  /// Recommendation prompts before the target of `phase`, always with the same neighbours. Users may have no target.
  void build_eval(HopBatch& batch, std::span<const data::UserId> users, data::Phase phase);
  /// Recommendation prompts of unknown users with these histories (oldest first, not empty).
  void build_histories(HopBatch& batch, std::span<const std::vector<data::ItemId>> histories);

  HopSampler& sampler() { return sampler_; }
  const SamplingOptions& options() const { return options_; }

 private:
  struct Request {
    Centre centre;
    std::span<const data::ItemId> all_history;
    data::ItemId target = -1;
    bool name_user = true;  // whether u1 and u2 hold the own user token
  };
  void assemble(HopBatch& batch, HopSet hops, PhiloxKey key);
  void write_prompts(HopBatch& batch, std::size_t sample, HopSet hops);
  void own_vectors(HopBatch& batch);
  void resolve_rows(HopBatch& batch);
  std::int32_t user_token(HopBatch& batch, data::UserId user);
  std::int32_t item_token(HopBatch& batch, data::ItemId item);
  std::int32_t own_token(HopBatch& batch, std::size_t sample);
  std::span<const data::ItemId> recent(std::span<const data::ItemId> history) const;

  const data::Split& split_;
  std::array<data::CompiledTemplate, data::kHops> templates_;  // with rows of text_ids_ instead of ids
  const ExternalEmbeddings& external_;
  SamplingOptions options_;
  std::uint64_t seed_;
  HopSampler sampler_;
  std::vector<std::int32_t> text_ids_;  // every text id of the templates, pad and </s>
  std::int32_t eos_row_ = 0;
  std::vector<std::int64_t> first_draw_;  // (U+1) number of the user's first training interaction
  std::vector<Request> requests_;
  std::vector<Centre> centres_;
  Neighbourhood neighbourhood_;
  std::vector<std::size_t> own_samples_;  // samples with an own user vector, in its row order
  std::vector<std::span<const data::ItemId>> histories_;
  std::vector<std::int32_t> user_slot_, item_slot_;  // position in user_ids / item_ids, valid where stamped
  std::vector<std::uint32_t> user_stamp_, item_stamp_;
  std::uint32_t stamp_ = 0;
  std::vector<std::int32_t> users_, items_;  // slot lists of the prompt being written
};

}  // namespace galrec::gal
