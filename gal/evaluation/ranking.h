#pragma once
// The protocol of a full ranking: which items compete with the target, and the ranks that come of it.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/split.h"
#include "gal/evaluation/metrics.h"

namespace galrec::gal {

/// What happens to items that the user has interacted with before the target (validation: the training part; test: the
/// training part and the validation item).
///   kNone          they compete.
///   kAll           none of them competes. A target that the user had before (repeat visits: 6.7 % of Yelp's test users)
///                  is masked with them, so it cannot be hit: its rank is num_items + 1. S3-Rec, ICLRec, LightGCN.
///   kAllButTarget  none of them competes, but the target always does.
///   kS3Rec         as S3-Rec's code: seen items (a repeated target among them) keep competing with the score 0, and the
///                  padding row and the mask row of the item table compete too. `compat.s3rec_mask`.
enum class MaskSeen { kNone, kAll, kAllButTarget, kS3Rec };

const char* mask_seen_name(MaskSeen mask);

struct RankingOptions {
  MaskSeen mask_seen = MaskSeen::kAll;
  std::vector<std::int64_t> ks{5, 10};
  std::int64_t batch = 256;  ///< users per block of queries
};

/// Declares eval.mask_seen, eval.k, eval.batch, eval.bootstrap and compat.s3rec_mask.
void add_ranking_keys(data::ConfigSchema& schema);
RankingOptions ranking_options(const data::Config& config);

/// The targets' ranks, users in ascending order; each vector one entry per user with a target.
struct RankResult {
  data::Phase phase = data::Phase::kTest;
  MaskSeen mask_seen = MaskSeen::kAll;
  std::int32_t num_items = 0;
  std::vector<data::UserId> users;
  std::vector<data::ItemId> targets;
  std::vector<std::int32_t> ranks;  ///< from 1; ties count against the target
  std::vector<std::int32_t> ties;   ///< competitors with exactly the target's score
  std::int64_t masked_targets = 0;  ///< targets that kAll has masked

  std::int64_t tied_users() const;
  MetricTable metrics(std::span<const std::int64_t> ks) const { return compute_metrics(ranks, ks); }
  /// The metrics with mask, ties and masked targets.
  nlohmann::ordered_json to_json(std::span<const std::int64_t> ks) const;
};

/// One line a user (`user target rank ties`, ids from 1) under comment lines with the protocol. Atomic.
void write_ranks(const std::filesystem::path& path, const RankResult& result);
/// DataError with file and line.
RankResult read_ranks(const std::filesystem::path& path);

/// "valid" and "test", as file names have it.
const char* phase_name(data::Phase phase);

}  // namespace galrec::gal
