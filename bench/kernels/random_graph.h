#pragma once
// A bipartite graph of Beauty's size for the graph benchmarks: 22,363 users, 12,101 items, items drawn with a long tail.

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/common/philox.h"

namespace galrec::bench {

struct BipartiteEdges {
  std::int32_t users = 22363, items = 12101;
  std::vector<std::int32_t> user, item;
};

inline BipartiteEdges beauty_like_edges(std::int64_t count = 131413) {
  BipartiteEdges edges;
  PhiloxStream random({.seed = 1});
  for (std::int64_t e = 0; e < count; ++e) {
    // Everybody has some items; the rest go to the keen. Popularity falls off like a power of the rank.
    const double u = random.uniform(), i = random.uniform();
    edges.user.push_back(static_cast<std::int32_t>(e < edges.users ? e : static_cast<std::int64_t>(u * u * edges.users)));
    edges.item.push_back(static_cast<std::int32_t>(i * i * i * edges.items));
  }
  return edges;
}

}  // namespace galrec::bench
