#pragma once
// What the tests of the rankings share on every backend: integer inputs, whose scores are exact in every type and order
// of summation and tie often, and what sorting and counting make of them.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/common/philox.h"
#include "tests/support/random.h"

namespace galrec::test {

inline std::vector<double> small_integers(std::int64_t n, std::uint64_t seed, std::int64_t range = 3) {
  PhiloxStream random({.seed = seed});
  std::vector<double> out(static_cast<std::size_t>(n));
  for (auto& x : out)
    x = static_cast<double>(random.below(static_cast<std::uint64_t>(2 * range + 1))) - static_cast<double>(range);
  return out;
}

struct RankingCase {
  std::int64_t n, c, v;
  std::int64_t query_gap = 0, item_gap = 0;  // 8 keeps rows aligned (where c does), 3 breaks it
  std::vector<double> queries, items, bias;
  std::vector<std::int32_t> targets, row_ptr, excluded;

  // Query i excludes i % 5 random items, unsorted, some of them twice, some the target; query 3 everything.
  RankingCase(std::int64_t queries_, std::int64_t cols, std::int64_t items_, std::int64_t gap = 0)
      : n(queries_), c(cols), v(items_), query_gap(gap), item_gap(gap) {
    queries = small_integers(n * c, 1);
    items = small_integers(v * c, 2);
    bias = small_integers(v, 3, 1);
    targets = test::random_ids(n, static_cast<std::int32_t>(v), 4);
    row_ptr = {0};
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<std::int32_t> row = test::random_ids(i % 5, static_cast<std::int32_t>(v), 100 + i);
      if (i % 10 == 4) row.push_back(row.front());
      if (i % 7 == 2) row.push_back(targets[i]);
      if (i == 3) {
        row.resize(v);
        std::iota(row.rbegin(), row.rend(), 0);
      }
      excluded.insert(excluded.end(), row.begin(), row.end());
      row_ptr.push_back(static_cast<std::int32_t>(excluded.size()));
    }
  }

  double score(std::int64_t q, std::int64_t item) const {
    double sum = bias.empty() ? 0 : bias[item];
    for (std::int64_t i = 0; i < c; ++i) sum += queries[q * c + i] * items[item * c + i];
    return sum;
  }
  bool is_excluded(std::int64_t q, std::int64_t item) const {
    if (row_ptr.empty()) return false;
    const auto end = excluded.begin() + row_ptr[q + 1];
    return std::find(excluded.begin() + row_ptr[q], end, item) != end;
  }
};

struct Best {
  std::vector<std::int32_t> indices;
  std::vector<double> scores;
};

/// By sorting every candidate.
inline Best sorted(const RankingCase& in, std::int64_t k) {
  Best out;
  for (std::int64_t q = 0; q < in.n; ++q) {
    std::vector<std::pair<double, std::int32_t>> all;
    for (std::int64_t v = 0; v < in.v; ++v) {
      if (!in.is_excluded(q, v)) all.emplace_back(-in.score(q, v), static_cast<std::int32_t>(v));
    }
    std::sort(all.begin(), all.end());
    for (std::int64_t j = 0; j < k; ++j) {
      const bool found = j < static_cast<std::int64_t>(all.size());
      out.indices.push_back(found ? all[j].second : -1);
      out.scores.push_back(found ? -all[j].first : -std::numeric_limits<double>::infinity());
    }
  }
  return out;
}

struct Ranks {
  std::vector<std::int32_t> ranks, ties;
  std::vector<double> scores;
};

/// By counting what is above each target, and what is equal to it.
inline Ranks counted(const RankingCase& in) {
  Ranks out;
  for (std::int64_t q = 0; q < in.n; ++q) {
    const double mine = in.score(q, in.targets[q]);
    std::int32_t above = 0, equal = 0;
    for (std::int64_t v = 0; v < in.v; ++v) {
      if (v == in.targets[q] || in.is_excluded(q, v)) continue;
      above += in.score(q, v) > mine;
      equal += in.score(q, v) == mine;
    }
    out.ranks.push_back(1 + above + equal);
    out.ties.push_back(equal);
    out.scores.push_back(mine);
  }
  return out;
}

}  // namespace galrec::test
