#include "data/k_core.h"

#include <cstddef>

#include "kernels/common/check.h"

namespace galrec::data {
namespace {

/// Users and items as nodes of one graph: items follow the users. CSR of each node's interactions.
struct Incidence {
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> interaction;
};

Incidence build_incidence(std::span<const std::int32_t> user, std::span<const std::int32_t> item, std::size_t users,
                          std::size_t nodes) {
  Incidence graph;
  graph.first.assign(nodes + 1, 0);
  for (std::size_t k = 0; k < user.size(); ++k) {
    ++graph.first[static_cast<std::size_t>(user[k]) + 1];
    ++graph.first[users + static_cast<std::size_t>(item[k]) + 1];
  }
  for (std::size_t node = 0; node < nodes; ++node) graph.first[node + 1] += graph.first[node];
  graph.interaction.resize(2 * user.size());
  std::vector<std::int64_t> next(graph.first.begin(), graph.first.end() - 1);
  for (std::size_t k = 0; k < user.size(); ++k) {
    graph.interaction[static_cast<std::size_t>(next[static_cast<std::size_t>(user[k])]++)] =
        static_cast<std::int64_t>(k);
    graph.interaction[static_cast<std::size_t>(next[users + static_cast<std::size_t>(item[k])]++)] =
        static_cast<std::int64_t>(k);
  }
  return graph;
}

}  // namespace

std::vector<bool> k_core(std::span<const std::int32_t> user, std::span<const std::int32_t> item, std::int32_t num_users,
                         std::int32_t num_items, std::int32_t min_user, std::int32_t min_item) {
  GALREC_CHECK(user.size() == item.size(), "{} users, {} items", user.size(), item.size());
  const auto users = static_cast<std::size_t>(num_users);
  const std::size_t nodes = users + static_cast<std::size_t>(num_items);
  for (std::size_t k = 0; k < user.size(); ++k)
    GALREC_CHECK(user[k] >= 0 && user[k] < num_users && item[k] >= 0 && item[k] < num_items,
                 "interaction {} out of range", k);
  const Incidence graph = build_incidence(user, item, users, nodes);
  const auto least = [&](std::size_t node) { return node < users ? min_user : min_item; };

  std::vector<bool> keep(user.size(), true);
  std::vector<bool> removed(nodes, false);
  std::vector<std::int64_t> degree(nodes);
  std::vector<std::size_t> pending;
  const auto drop_if_poor = [&](std::size_t node) {
    if (removed[node] || degree[node] >= least(node)) return;
    removed[node] = true;
    pending.push_back(node);
  };
  for (std::size_t node = 0; node < nodes; ++node) degree[node] = graph.first[node + 1] - graph.first[node];
  for (std::size_t node = 0; node < nodes; ++node) drop_if_poor(node);
  while (!pending.empty()) {
    const std::size_t node = pending.back();
    pending.pop_back();
    for (std::int64_t at = graph.first[node]; at < graph.first[node + 1]; ++at) {
      const auto k = static_cast<std::size_t>(graph.interaction[static_cast<std::size_t>(at)]);
      if (!keep[k]) continue;
      keep[k] = false;
      const std::size_t other =
          node < users ? users + static_cast<std::size_t>(item[k]) : static_cast<std::size_t>(user[k]);
      --degree[other];
      drop_if_poor(other);
    }
  }
  return keep;
}

}  // namespace galrec::data
