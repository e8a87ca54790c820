#pragma once
// A trained run, ready to rank: what `evaluate`, `recommend` and `reproduce` open, whatever was trained in the folder.

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/dataset.h"
#include "data/split.h"
#include "gal/evaluation/full_ranking.h"
#include "kernels/common/context.h"

namespace galrec::gal {

/// One recommended item.
struct Recommendation {
  data::ItemId item = 0;
  float score = 0;
};

class Ranker {
 public:
  virtual ~Ranker() = default;

  /// Opens the best checkpoint of a run folder (galrec pretrain or train). `data_path` replaces the recorded data set
  /// folder where it has moved; empty: as recorded. DataError naming what is missing.
  static std::unique_ptr<Ranker> open(const Device& device, const std::filesystem::path& run, const std::string& data_path = "");

  virtual const data::Config& config() const = 0;
  virtual const data::Dataset& dataset() const = 0;
  virtual const data::Split& split() const = 0;
  /// Width of queries.
  virtual std::int64_t dim() const = 0;
  virtual RankedItems<float> items() const = 0;  // on the device

  /// Queries of known users before their target of `phase`, in host memory.
  virtual void user_queries(std::span<const data::UserId> users, data::Phase phase, View<float, 2> out) = 0;
  /// Queries of unknown users with these histories (oldest first, not empty), in host memory.
  virtual void history_queries(std::span<const std::vector<data::ItemId>> histories, View<float, 2> out) = 0;
};

RankResult rank(const Device& device, Ranker& ranker, data::Phase phase, const RankingOptions& options, const RankingProgress& progress = {});

/// The K best items for a query (dim), in host memory, best first, without those in `excluded`.
std::vector<Recommendation> recommend(const Device& device, const Ranker& ranker, View<const float, 1> query, std::span<const data::ItemId> excluded,
                                      std::int32_t k);

}  // namespace galrec::gal
