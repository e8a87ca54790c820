#pragma once
// One batch of prompts, packed, ready for the model: integers and the users' prefix vectors, nothing about files.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/id_tokens.h"
#include "data/prompt_templates.h"
#include "data/split.h"

namespace galrec::gal {

/// One training sample: history = train(user)[0, cut), target = train(user)[cut]; cut >= 1.
struct TrainSample {
  data::UserId user = 0;
  std::int32_t cut = 1;
  bool operator==(const TrainSample&) const = default;
};

/// Which prompts a batch holds: all six (u0 u1 u2 i0 i1 i2), or the recommendation prompt u2 alone.
enum class HopSet { kAll, kRecommendOnly };
constexpr std::int32_t hop_count(HopSet hops) {
  return hops == HopSet::kAll ? static_cast<std::int32_t>(data::kHops) : 1;
}

/// Tokens name rows of the batch's own embedding table, which holds each text piece, user and item of the batch once:
/// [text_ids | user_ids | own user vectors | item_ids].
struct HopBatch {
  std::int32_t samples = 0;
  HopSet hops = HopSet::kAll;

  std::vector<std::int32_t> tokens;  ///< (N) table rows of all prompts, packed
  std::vector<std::int32_t> cu;      ///< (samples * hop_count + 1) offsets; samples in order, hops in order within each

  std::vector<std::int32_t> text_ids;   ///< table rows [0, nt): ids of `shared`, pad (decoder start) among them
  std::vector<std::int32_t> user_ids;   ///< then users with their full vectors
  std::vector<float> own_user_vectors;  ///< then users as of their histories: (own_users, d1_user)
  std::int32_t own_users = 0;
  std::vector<std::int32_t> own_user_ids;  ///< (own_users) whose they are, -1 for an unknown user
  std::vector<std::int32_t> item_ids;      ///< then items

  std::vector<std::int32_t> user;        ///< (samples) the sample's user, -1 if unknown: own id in the user queues
  std::vector<std::int32_t> item;        ///< (samples) i0, or -1 without item prompts: own id in the item queues
  std::vector<std::int32_t> target;      ///< (samples) item to predict, -1 if none
  std::vector<std::int32_t> target_row;  ///< (samples) its table row, -1 if none
  std::int32_t start_row = 0;            ///< table row of the decoder's start token

  std::int64_t table_rows() const {
    return static_cast<std::int64_t>(text_ids.size() + user_ids.size() + item_ids.size()) + own_users;
  }
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(tokens.size()); }
  /// Index of a prompt's segment in `cu`.
  std::int64_t segment(std::int32_t sample, data::Hop hop) const {
    return hops == HopSet::kAll ? static_cast<std::int64_t>(sample) * hop_count(hops) + static_cast<std::int32_t>(hop)
                                : sample;
  }
  std::span<const std::int32_t> prompt(std::int32_t sample, data::Hop hop) const {
    const auto s = static_cast<std::size_t>(segment(sample, hop));
    return std::span<const std::int32_t>(tokens).subspan(static_cast<std::size_t>(cu[s]),
                                                         static_cast<std::size_t>(cu[s + 1] - cu[s]));
  }
  void clear();
};

/// The tokens in the joint vocabulary of `ids` (own user vectors become their users' tokens): for dumps and audits.
/// An unknown user has no token: -1.
std::vector<std::int32_t> joint_tokens(const HopBatch& batch, const data::IdTokens& ids);

/// A packed batch from joint token ids, as recorded fixtures bring it: `lengths` (samples * 6), targets as joint ids.
/// DataError with `name` for an id out of range or lengths that do not add up.
HopBatch batch_from_joint_tokens(std::span<const std::int32_t> tokens, std::span<const std::int32_t> lengths,
                                 std::span<const std::int32_t> user, std::span<const std::int32_t> item,
                                 std::span<const std::int32_t> target, const data::IdTokens& ids, const char* name);

}  // namespace galrec::gal
