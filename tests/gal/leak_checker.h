#pragma once
// Reads finished prompts back and proves that none shows what is to be predicted. It knows nothing of the sampler: its
// evidence is the training part of the split alone.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/id_tokens.h"
#include "data/split.h"
#include "gal/hop_batch.h"

namespace galrec::test {

class LeakChecker {
 public:
  explicit LeakChecker(const data::Split& split)
      : split_(split),
        users_of_(static_cast<std::size_t>(split.dataset().num_items())),
        item_mark_(users_of_.size(), 0),
        user_mark_(static_cast<std::size_t>(split.dataset().num_users()), 0),
        near_item_mark_(users_of_.size(), 0) {
    for (data::UserId u = 0; u < split.dataset().num_users(); ++u) {
      for (const auto i : split.train(u)) users_of_[static_cast<std::size_t>(i)].push_back(u);
    }
  }

  /// "" or what is wrong with one sample of a batch. `tokens` are the batch's joint tokens.
  ///  - No user prompt names the target (unless the user had it before), nor any later item.
  ///  - Every item of a user prompt is of the history; every user of it shares a history item, by an edge that is not
  ///  the
  ///    user's; every user of an item prompt has a training edge to i0, every item of it one to one of those users; and
  ///    the user itself is not among them. So everything has a path that avoids the user's edges to the target and
  ///    later items.
  ///  - The user's full external vector, which has seen the target, occurs nowhere in its sample.
  std::string check(const gal::HopBatch& batch, std::span<const std::int32_t> tokens, const data::IdTokens& ids,
                    std::int32_t sample, gal::TrainSample s) {
    ++stamp_;
    const auto train = split_.train(s.user);
    const auto history = train.first(static_cast<std::size_t>(s.cut));
    const data::ItemId target = train[static_cast<std::size_t>(s.cut)];
    for (const auto i : history) {
      mark(item_mark_, i);
      for (const auto u : users_of_[static_cast<std::size_t>(i)]) {
        if (u != s.user) mark(user_mark_, u);
      }
    }
    const auto at = "user " + std::to_string(s.user) + ", cut " + std::to_string(s.cut) + ": ";
    for (const auto hop : {data::Hop::kU0, data::Hop::kU1, data::Hop::kU2}) {
      for (const auto t : prompt(batch, tokens, sample, hop)) {
        if (ids.is_item(t) && ids.item_of(t) == target && !marked(item_mark_, target))
          return at + "a user prompt names the target";
        if (ids.is_item(t) && !marked(item_mark_, ids.item_of(t)))
          return at + "a user prompt names an item outside the history";
        if (ids.is_user(t) && ids.user_of(t) != s.user && !marked(user_mark_, ids.user_of(t)))
          return at + "a user who shares no history item";
      }
    }
    const data::ItemId i0 = batch.item[static_cast<std::size_t>(sample)];
    if (!marked(item_mark_, i0)) return at + "i0 is not of the history";
    ++stamp_;
    for (const auto u : users_of_[static_cast<std::size_t>(i0)]) {
      if (u != s.user) mark(user_mark_, u);
    }
    mark(near_item_mark_, i0);
    for (const auto hop : {data::Hop::kI0, data::Hop::kI1, data::Hop::kI2}) {
      for (const auto t : prompt(batch, tokens, sample, hop)) {
        if (!ids.is_user(t)) continue;
        if (ids.user_of(t) == s.user) return at + "the user is a neighbour of its own i0";
        if (!marked(user_mark_, ids.user_of(t))) return at + "a user without an edge to i0";
        for (const auto i : split_.train(ids.user_of(t))) mark(near_item_mark_, i);
      }
      for (const auto t : prompt(batch, tokens, sample, hop)) {
        if (ids.is_item(t) && !marked(near_item_mark_, ids.item_of(t)))
          return at + "an item that no listed neighbour of i0 has";
      }
    }
    const auto first = static_cast<std::int32_t>(batch.text_ids.size());
    const auto end = first + static_cast<std::int32_t>(batch.user_ids.size());
    for (const auto hop : data::kAllHops) {
      for (const auto row : batch.prompt(sample, hop)) {
        if (row >= first && row < end && batch.user_ids[static_cast<std::size_t>(row - first)] == s.user)
          return at + "the user's full vector";
      }
    }
    return "";
  }

 private:
  void mark(std::vector<std::int32_t>& marks, std::int32_t id) { marks[static_cast<std::size_t>(id)] = stamp_; }
  bool marked(const std::vector<std::int32_t>& marks, std::int32_t id) const {
    return marks[static_cast<std::size_t>(id)] == stamp_;
  }
  static std::span<const std::int32_t> prompt(const gal::HopBatch& b, std::span<const std::int32_t> tokens,
                                              std::int32_t sample, data::Hop hop) {
    const auto s = static_cast<std::size_t>(b.segment(sample, hop));
    return tokens.subspan(static_cast<std::size_t>(b.cu[s]), static_cast<std::size_t>(b.cu[s + 1] - b.cu[s]));
  }

  const data::Split& split_;
  std::vector<std::vector<data::UserId>> users_of_;
  std::vector<std::int32_t> item_mark_, user_mark_, near_item_mark_;
  std::int32_t stamp_ = 0;
};

}  // namespace galrec::test
