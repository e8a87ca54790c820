#pragma once
// The choices of graph-aware learning. Each ambiguity of the paper is one key; docs/ambiguities.md lists them with
// their rows. Defaults are the paper's equations, as the table settles them.

#include <cstdint>
#include <string>

#include "data/config.h"

namespace galrec::gal {

/// What one training sample is: every prefix of a user's training items, one random cut a user and epoch, or the last.
enum class SampleUnit { kPrefix, kCut, kLast };
/// kNeighbours puts samples of users that share items next to each other, so that the queues hold harder negatives.
enum class SampleOrder { kRandom, kNeighbours };
enum class ItemCentre { kHistory, kTarget };  ///< which item is i0
enum class OwnUser { kExclude, kKeep };       ///< whether the sample's user may stand among the neighbours of i0
enum class PromptCentre { kKeep, kDrop };     ///< whether one- and two-hop prompts name their own node
enum class UserVector { kPrefix, kStatic, kStaticDrop, kNone };
enum class PrefixHistory { kPrompt, kAll };  ///< items of a prefix vector: those of the prompt, or all before the cut

/// Keys sample.*, prompt.centre, loss.i0 and external.user_vector: everything that decides what a prompt holds.
struct SamplingOptions {
  SampleUnit unit = SampleUnit::kPrefix;
  SampleOrder order = SampleOrder::kRandom;
  std::int32_t hops = 2;            ///< 1: no two-hop neighbours in the prompts, and L3 alone remains
  std::int32_t history = 20;        ///< most recent items of a user
  std::int32_t users_per_item = 8;  ///< two-hop users drawn for each history item
  std::int32_t item_users = 20;     ///< one-hop users of an item
  std::int32_t items_per_user = 8;  ///< two-hop items drawn for each of those users
  std::int32_t max_tokens = 512;    ///< of one prompt; two-hop neighbours are cut off first
  OwnUser own_user = OwnUser::kExclude;
  ItemCentre i0 = ItemCentre::kHistory;
  PromptCentre centre = PromptCentre::kKeep;
  UserVector user_vector = UserVector::kPrefix;
  double user_drop = 0.5;  ///< share of samples without the own user token under kStaticDrop
  PrefixHistory prefix_history = PrefixHistory::kPrompt;
};

enum class LossColumns { kAll, kItems };
enum class L1Anchor { kHop2, kHop0, kSymmetric };
enum class Positive { kQuery, kMomentum };
enum class Similarity { kCosine, kDot };
enum class Reduction { kSum, kMean };  ///< of a user and an item term
enum class InBatch { kOff, kOn };      ///< other samples' positives, without gradient, join the queue

/// Keys loss.*, l1.anchor, queue.in_batch.
struct LossOptions {
  LossColumns columns = LossColumns::kAll;
  double tau = 0.1;
  double l1 = 0.1, l2 = 0.1, l3 = 0.1;  ///< all 0: no graph-aware learning; only u2 prompts are needed
  L1Anchor l1_anchor = L1Anchor::kHop2;
  Positive positive = Positive::kQuery;
  Similarity similarity = Similarity::kCosine;
  Reduction reduction = Reduction::kSum;
  InBatch in_batch = InBatch::kOff;

  bool contrastive() const { return l1 != 0 || l2 != 0 || l3 != 0; }
};

enum class QueueEncoder { kMomentum, kQuery };
enum class QueueStart { kEmpty, kRandom };

/// Keys queue.* and momentum.*.
struct QueueOptions {
  std::int32_t size = 512;
  QueueEncoder encoder = QueueEncoder::kMomentum;
  QueueStart start = QueueStart::kEmpty;
  double momentum = 0.999;
  bool momentum_dropout = false;
};

enum class Pooling { kMean, kFirst, kEos };
enum class Mapping { kLinear, kMlp };  ///< g
enum class ExternalRows { kFrozen, kTrainable };
enum class HeadInit { kExternal, kRandom };

/// Keys pooling, external.mapping, external.rows, head.init, tokens.text_rows.
struct MappingOptions {
  Pooling pooling = Pooling::kMean;
  Mapping mapping = Mapping::kLinear;
  ExternalRows rows = ExternalRows::kFrozen;
  HeadInit head_init = HeadInit::kExternal;
  std::int32_t text_rows = 0;  ///< 0: all rows of the checkpoint's embedding
};

struct GalOptions {
  SamplingOptions sampling;
  LossOptions loss;
  QueueOptions queue;
  MappingOptions mapping;

  /// Whether a step needs the momentum encoder's keys (for the queues or as positives).
  bool needs_momentum_keys() const {
    return loss.contrastive() && (queue.encoder == QueueEncoder::kMomentum || loss.positive == Positive::kMomentum);
  }
  /// Reads the keys of add_gal_keys(). UsageError for a combination that has no meaning, naming the keys.
  static GalOptions from_config(const data::Config& config);
};

/// Declares the keys above with their defaults, ranges and help.
void add_gal_keys(data::ConfigSchema& schema);

}  // namespace galrec::gal
