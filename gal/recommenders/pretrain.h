#pragma once
// Trains a recommender by epochs: validation after every few, early stopping on NDCG@10, best and last checkpoints, and
// in the end the embeddings of the best epoch for other models.

#include <memory>

#include "data/config.h"
#include "data/progress.h"
#include "data/run_folder.h"
#include "data/split.h"
#include "gal/evaluation/ranking.h"
#include "gal/recommenders/recommender.h"

namespace galrec::gal {

struct PretrainOptions {
  std::int32_t epochs = 200;
  std::int32_t eval_every = 5;  // epochs between validations
  std::int32_t patience = 10;   // validations without a better NDCG@10
  RankingOptions ranking;
};

/// Keys pretrain.epochs, pretrain.eval_every, pretrain.patience.
void add_pretrain_keys(data::ConfigSchema& schema);
PretrainOptions pretrain_options(const data::Config& config);

struct PretrainResult {
  std::int32_t best_epoch = 0;
  double best_valid_ndcg10 = 0;
  RankResult valid = {}, test = {};  // of the best epoch
};

/// Ranks with the recommender's current vectors.
RankResult rank_recommender(const Device& device, Recommender& model, const data::Split& split, data::Phase phase, const RankingOptions& options);

/// Runs or resumes. The folder gets metrics.jsonl, best/, last/, ranks_{valid,test}.tsv, embeddings.safetensors, result.json.
/// A finished folder is only evaluated again. NumericalError where the loss is not finite.
PretrainResult pretrain(const Device& device, Recommender& model, const data::Split& split, const PretrainOptions& options, data::RunFolder& run,
                        spdlog::logger& log, data::ProgressStyle style);

/// Builds the model that `config` and `kind` ("lightgcn" or "sasrec") describe, with random weights.
std::unique_ptr<Recommender> make_recommender(const Device& device, const std::string& kind, const data::Split& split, const data::Config& config,
                                              std::uint64_t seed);

}  // namespace galrec::gal
