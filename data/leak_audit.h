#pragma once
// What a data set and its split give away, or hide: ties, ids that spell the order, targets nobody trained on, repeats.

#include <cstdint>
#include <string>

#include "data/split.h"

namespace galrec::data {

struct LeakAudit {
  std::string name;
  SplitKind kind = SplitKind::kLeaveOneOut;
  std::int32_t test_users = 0;
  std::int32_t valid_users = 0;
  std::int64_t consecutive_pairs = 0;  ///< neighbours within a sequence

  // Times. Ties make the order a matter of the file: breaking them by item id has inflated published results.
  bool has_times = false;
  std::int64_t tied_pairs = 0;         ///< neighbours at the same time
  std::int32_t tied_test = 0;          ///< test targets at the same time as the interaction before
  std::int32_t test_before_train = 0;  ///< test targets older than the newest training interaction of anybody

  // Ids. Numbers given in reading order make a sequence a, a+1, a+2, ..., the test item included: a model that reads
  // ids as text then counts instead of recommending.
  double mean_spearman = 0;     ///< item id against position within a sequence, mean over users with 3 items or more
  double successor_share = 0;   ///< neighbours whose ids differ by +1
  double successor_test = 0;    ///< the same for the step to the test target
  double successor_chance = 0;  ///< what random ids would give: 1 / items

  // Targets that occur in nobody's training part: only text or content can find them.
  std::int32_t valid_unseen = 0;
  std::int32_t test_unseen = 0;

  // Repeats. Masking the items that a user has seen makes these targets unreachable.
  std::int32_t users_with_repeats = 0;
  std::int32_t test_repeats = 0;   ///< test target already in the user's history
  double best_hr_when_masked = 1;  ///< bound on HR@K under eval.mask_seen = all
};

LeakAudit audit_leaks(const Split& split);

/// The figures, each with its verdict in plain words.
std::string to_report(const LeakAudit& audit);

}  // namespace galrec::data
