#pragma once
// The k-core of the user-item graph: the largest part in which every user and every item has enough interactions.

#include <cstdint>
#include <span>
#include <vector>

namespace galrec::data {

/// Removes users with fewer than `min_user` and items with fewer than `min_item` interactions until none is left;
/// repeated interactions count. `user[k]` in [0, num_users), `item[k]` in [0, num_items). Returns for each interaction
/// whether it stays. The result does not depend on any order; time is linear in the interactions.
std::vector<bool> k_core(std::span<const std::int32_t> user, std::span<const std::int32_t> item, std::int32_t num_users,
                         std::int32_t num_items, std::int32_t min_user, std::int32_t min_item);

}  // namespace galrec::data
