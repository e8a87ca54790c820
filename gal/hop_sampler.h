#pragma once
// Neighbours of users and items in the training graph, sampled so that nothing is reached through the edge that is to
// be predicted: a user's neighbours are found through its history alone, and an item's neighbours leave the user out.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/split.h"
#include "gal/options.h"
#include "kernels/common/context.h"
#include "kernels/csr/csr.h"

namespace galrec::gal {

/// Lists of different lengths in one piece.
struct Ragged {
  std::vector<std::int32_t> ptr{0};
  std::vector<std::int32_t> values;

  std::size_t size() const { return ptr.size() - 1; }
  std::span<const std::int32_t> operator[](std::size_t i) const {
    return std::span<const std::int32_t>(values).subspan(static_cast<std::size_t>(ptr[i]),
                                                         static_cast<std::size_t>(ptr[i + 1] - ptr[i]));
  }
  void clear() {
    ptr.assign(1, 0);
    values.clear();
  }
  void close() { ptr.push_back(static_cast<std::int32_t>(values.size())); }
};

/// Whose neighbours are wanted.
struct Centre {
  data::UserId user = -1;                 ///< -1: not a user of the data set
  std::span<const data::ItemId> history;  ///< oldest first, cut to the most recent ones already
  std::span<const data::ItemId> hidden;   ///< the user's items that must not be followed: target and later
  data::ItemId item = -1;                 ///< i0, -1 for none
  std::int64_t draw = 0;                  ///< names the random numbers of this centre
};

/// What a batch of centres sees. Lists have no duplicates.
struct Neighbourhood {
  Ragged users;       ///< two hops from the user: users of its history items, most recent item first, never itself
  Ragged item_users;  ///< one hop from i0, ascending
  Ragged item_items;  ///< two hops from i0: items of those users, never i0
};

/// Holds the training graph in both directions. Not for concurrent calls.
class HopSampler {
 public:
  HopSampler(CpuContext& ctx, const data::Split& split, const SamplingOptions& options);

  /// Fills `out` for all centres; a function of (key, centre) alone. Without item lists unless a centre has an item.
  void sample(Neighbourhood& out, std::span<const Centre> centres, PhiloxKey key);

  const Csr& items_of_user() const { return items_of_user_; }
  const Csr& users_of_item() const { return users_of_item_; }

 private:
  void sample_users(Ragged& out, std::span<const Centre> centres, PhiloxKey key);
  void sample_item_side(Neighbourhood& out, std::span<const Centre> centres, PhiloxKey key);
  bool first_visit(std::vector<std::int32_t>& stamps, std::int32_t id);

  CpuContext& ctx_;
  SamplingOptions options_;
  Csr items_of_user_;  // (U, I) training edges
  Csr users_of_item_;  // (I, U)
  std::vector<std::int32_t> user_stamps_, item_stamps_;
  std::int32_t stamp_ = 0;
  std::vector<std::int32_t> nodes_, exclude_;
  std::vector<std::int64_t> draws_;
  SampledNeighbors sampled_;
};

}  // namespace galrec::gal
