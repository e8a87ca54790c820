#include "kernels/csr/csr.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "kernels/csr/sample_one.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using Edges = std::vector<std::pair<std::int32_t, std::int32_t>>;

Csr build(std::int32_t rows, std::int32_t cols, const Edges& edges, DuplicateEdges duplicates) {
  CpuContext ctx(2);
  std::vector<std::int32_t> src, dst;
  for (const auto& [s, d] : edges) {
    src.push_back(s);
    dst.push_back(d);
  }
  return csr_build(ctx, rows, cols, view_of(std::as_const(src)), view_of(std::as_const(dst)), duplicates);
}

Edges edges_of(const Csr& graph) {
  Edges out;
  for (std::int32_t r = 0; r < graph.rows; ++r) {
    for (std::int32_t e = graph.row_ptr[r]; e < graph.row_ptr[r + 1]; ++e) out.emplace_back(r, graph.col_idx[e]);
  }
  return out;
}

Edges random_edges(std::int64_t n, std::int32_t rows, std::int32_t cols, std::uint64_t seed) {
  const auto src = test::random_ids(n, rows, seed), dst = test::random_ids(n, cols, seed + 1);
  Edges out;
  for (std::int64_t e = 0; e < n; ++e) out.emplace_back(src[e], dst[e]);
  return out;
}

TEST(CsrBuild, SortsEdgesAndKeepsOrMergesRepeats) {
  for (const auto& [n, rows, cols] : std::vector<std::array<std::int32_t, 3>>{
           {0, 0, 0}, {0, 5, 3}, {1, 1, 1}, {31, 33, 7}, {769, 127, 31}, {5000, 31, 33}, {20000, 5, 3000}}) {
    Edges edges = random_edges(n, std::max(rows, 1), std::max(cols, 1), 7);
    const auto kept = build(rows, cols, edges, DuplicateEdges::kKeep), merged = build(rows, cols, edges, DuplicateEdges::kMerge);
    std::sort(edges.begin(), edges.end());
    EXPECT_EQ(edges_of(kept), edges);
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    EXPECT_EQ(edges_of(merged), edges);
    for (const auto* graph : {&kept, &merged}) {
      EXPECT_EQ(graph->rows, rows);
      EXPECT_EQ(graph->cols, cols);
      ASSERT_EQ(graph->row_ptr.size(), static_cast<std::size_t>(rows) + 1);
      EXPECT_EQ(graph->row_ptr.front(), 0);
      EXPECT_EQ(graph->row_ptr.back(), static_cast<std::int32_t>(graph->col_idx.size()));
    }
  }
}

TEST(CsrBuild, TransposeSwapsEveryEdge) {
  CpuContext ctx(2);
  for (const auto duplicates : {DuplicateEdges::kKeep, DuplicateEdges::kMerge}) {
    const auto graph = build(127, 33, random_edges(3000, 127, 33, 3), duplicates);
    const auto back = csr_transpose(ctx, graph);
    Edges swapped = edges_of(graph);
    for (auto& [s, d] : swapped) std::swap(s, d);
    std::sort(swapped.begin(), swapped.end());
    EXPECT_EQ(edges_of(back), swapped);
    EXPECT_EQ(back.rows, 33);
    EXPECT_EQ(back.cols, 127);
    EXPECT_EQ(edges_of(csr_transpose(ctx, back)), edges_of(graph));
  }
}

TEST(CsrBuild, RefusesBadEdges) {
  const auto keep = DuplicateEdges::kKeep;
  EXPECT_THROW(build(3, 4, {{0, 0}, {3, 0}}, keep), CheckError);
  EXPECT_THROW(build(3, 4, {{0, 4}}, keep), CheckError);
  EXPECT_THROW(build(3, 4, {{-1, 0}}, keep), CheckError);
  EXPECT_THROW(build(3, 4, {{0, -1}}, keep), CheckError);
  EXPECT_THROW(build(-1, 4, {}, keep), CheckError);
  CpuContext ctx(1);
  const std::vector<std::int32_t> two = {0, 1}, one = {0};
  EXPECT_THROW(csr_build(ctx, 3, 4, view_of(two), view_of(one), keep), CheckError);
}

// --- sampling ---

struct Draw {
  std::vector<std::int32_t> nodes, exclude;
  std::vector<std::int64_t> ids;
  void add(std::int32_t node, std::int64_t id, std::int32_t excluded = -1) {
    nodes.push_back(node);
    ids.push_back(id);
    exclude.push_back(excluded);
  }
};

SampledNeighbors sample(const Csr& graph, const Draw& draw, const SampleOptions& options, int threads = 1) {
  CpuContext ctx(threads);
  SampledNeighbors out;
  csr_sample(ctx, out, graph, view_of(draw.nodes), view_of(draw.ids), view_of(draw.exclude), options);
  return out;
}

std::vector<std::int32_t> items_of(const SampledNeighbors& sampled, std::int64_t n) {
  return {sampled.items.begin() + sampled.ptr[n], sampled.items.begin() + sampled.ptr[n + 1]};
}

// Rows with 0, 1, 2, ... neighbours, so that every relation of degree and fanout occurs.
Csr staircase(std::int32_t rows) {
  Edges edges;
  for (std::int32_t r = 0; r < rows; ++r) {
    for (std::int32_t e = 0; e < r; ++e) edges.emplace_back(r, 3 * e + r % 3);
  }
  return build(rows, 3 * rows, edges, DuplicateEdges::kMerge);
}

// A big draw over the staircase: with exclusions that are neighbours, that are not, and none.
Draw big_draw(const Csr& graph, std::int64_t n) {
  Draw draw;
  const auto nodes = test::random_ids(n, graph.rows, 8);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t node = nodes[i], degree = graph.degree(node);
    std::int32_t exclude = -1;
    if (i % 3 == 1 && degree > 0) exclude = graph.col_idx[graph.row_ptr[node] + i % degree];
    if (i % 3 == 2) exclude = static_cast<std::int32_t>(i % graph.cols);
    draw.add(node, 1000 + 7 * i, exclude);
  }
  return draw;
}

TEST(CsrSample, ReturnsDistinctAscendingNeighborsWithoutTheExcluded) {
  const Csr graph = staircase(90);
  const Draw draw = big_draw(graph, 3000);
  for (const std::int32_t fanout : {1, 2, 7, 8, 31, 33, 64}) {
    const auto sampled = sample(graph, draw, {.fanout = fanout, .key = {.seed = 5}});
    ASSERT_EQ(sampled.ptr.size(), draw.nodes.size() + 1);
    ASSERT_EQ(sampled.items.size(), static_cast<std::size_t>(sampled.ptr.back()));
    for (std::size_t n = 0; n < draw.nodes.size(); ++n) {
      const auto first = graph.col_idx.begin() + graph.row_ptr[draw.nodes[n]], last = graph.col_idx.begin() + graph.row_ptr[draw.nodes[n] + 1];
      std::vector<std::int32_t> candidates(first, last);
      candidates.erase(std::remove(candidates.begin(), candidates.end(), draw.exclude[n]), candidates.end());
      const auto items = items_of(sampled, static_cast<std::int64_t>(n));
      ASSERT_EQ(items.size(), std::min<std::size_t>(candidates.size(), static_cast<std::size_t>(fanout)));
      ASSERT_TRUE(std::adjacent_find(items.begin(), items.end(), std::greater_equal<>()) == items.end()) << "ascending and distinct";
      ASSERT_TRUE(std::includes(candidates.begin(), candidates.end(), items.begin(), items.end()));
    }
  }
}

TEST(CsrSample, BitsDoNotDependOnThreads) {
  const Csr graph = staircase(90);
  const Draw draw = big_draw(graph, 20000);  // far above the size that goes to Thrust's OpenMP backend
  const SampleOptions options{.fanout = 8, .key = {.seed = 5, .step = 3, .stream = 2}};
  const auto one = sample(graph, draw, options, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    const int before = omp_get_max_threads();
    const auto more = sample(graph, draw, options, threads);
    EXPECT_EQ(omp_get_max_threads(), before) << "the number of threads is the caller's";
    EXPECT_EQ(more.ptr, one.ptr);
    EXPECT_EQ(more.items, one.items);
  }
}

// The neighbours of (node, draw id) are the same alone, in any order, and in any company.
TEST(CsrSample, DependsOnKeyDrawIdAndSlotOnly) {
  const Csr graph = staircase(90);
  const Draw draw = big_draw(graph, 2000);
  const SampleOptions options{.fanout = 8, .key = {.seed = 5}};
  const auto together = sample(graph, draw, options, 2);
  Draw backwards;
  for (std::size_t i = draw.nodes.size(); i-- > 0;) backwards.add(draw.nodes[i], draw.ids[i], draw.exclude[i]);
  const auto reversed = sample(graph, backwards, options);
  for (std::size_t i = 0; i < draw.nodes.size(); ++i) {
    ASSERT_EQ(items_of(together, i), items_of(reversed, draw.nodes.size() - 1 - i)) << i;
    if (i % 50 != 0) continue;
    Draw alone;
    alone.add(draw.nodes[i], draw.ids[i], draw.exclude[i]);
    ASSERT_EQ(items_of(together, i), items_of(sample(graph, alone, options), 0)) << i;
  }
  // ... and each part of the key and the draw id matters.
  const auto differs = [&](const Draw& d, const SampleOptions& o) { return sample(graph, d, o).items != together.items; };
  EXPECT_TRUE(differs(draw, {.fanout = 8, .key = {.seed = 6}}));
  EXPECT_TRUE(differs(draw, {.fanout = 8, .key = {.seed = 5, .step = 1}}));
  EXPECT_TRUE(differs(draw, {.fanout = 8, .key = {.seed = 5, .stream = 1}}));
  Draw later = draw;
  for (auto& id : later.ids) id += 1;
  EXPECT_TRUE(differs(later, options));
}

// Floyd's algorithm written down again with a set, from the contract: block of (draw id n, slot s) = n * 64 + s.
TEST(CsrSample, IsFloydsAlgorithmOverPhilox) {
  const Csr graph = staircase(90);
  const Draw draw = big_draw(graph, 500);
  const SampleOptions options{.fanout = 7, .key = {.seed = 11, .step = 2, .stream = 9}};
  const auto sampled = sample(graph, draw, options);
  for (std::size_t n = 0; n < draw.nodes.size(); ++n) {
    std::vector<std::int32_t> candidates;
    for (std::int32_t e = graph.row_ptr[draw.nodes[n]]; e < graph.row_ptr[draw.nodes[n] + 1]; ++e) {
      if (graph.col_idx[e] != draw.exclude[n]) candidates.push_back(graph.col_idx[e]);
    }
    const auto size = static_cast<std::int64_t>(candidates.size());
    std::set<std::int32_t> chosen;
    if (size <= options.fanout) chosen.insert(candidates.begin(), candidates.end());
    for (std::int64_t s = 0; size > options.fanout && s < options.fanout; ++s) {
      const std::int64_t last = size - options.fanout + s;
      const std::uint64_t bits = philox(options.key, static_cast<std::uint64_t>(draw.ids[n]) * 64 + s)[0];
      const std::int32_t item = candidates[bits * static_cast<std::uint64_t>(last + 1) >> 32];
      chosen.insert(chosen.count(item) ? candidates[last] : item);
    }
    ASSERT_EQ(items_of(sampled, n), std::vector<std::int32_t>(chosen.begin(), chosen.end())) << n;
  }
}

// Pearson's statistic for counts that should all be `expected`.
double chi_square(const std::map<std::vector<std::int32_t>, int>& counts, double expected, std::size_t cells) {
  double sum = (static_cast<double>(cells) - static_cast<double>(counts.size())) * expected;
  for (const auto& [key, count] : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(CsrSample, EverySubsetIsEquallyLikely) {
  Edges edges;
  for (std::int32_t c = 0; c < 8; ++c) edges.emplace_back(0, 10 + c);
  const Csr graph = build(1, 20, edges, DuplicateEdges::kMerge);
  constexpr int kDraws = 35000;
  Draw draw;
  for (int i = 0; i < kDraws; ++i) draw.add(0, i, 13);  // 7 candidates are left: 35 subsets of 3
  const auto sampled = sample(graph, draw, {.fanout = 3, .key = {.seed = 1}});
  std::map<std::vector<std::int32_t>, int> subsets;
  for (int i = 0; i < kDraws; ++i) ++subsets[items_of(sampled, i)];
  EXPECT_EQ(subsets.size(), 35u);
  // 34 degrees of freedom: the 99.9 % quantile is 65.2.
  EXPECT_LT(chi_square(subsets, kDraws / 35.0, 35), 65.2);
}

TEST(CsrSample, EveryNeighborOfAHubIsEquallyLikely) {
  Edges edges;
  for (std::int32_t c = 0; c < 100; ++c) edges.emplace_back(0, c);
  const Csr graph = build(1, 100, edges, DuplicateEdges::kMerge);
  Draw draw;
  for (int i = 0; i < 20000; ++i) draw.add(0, i);
  const auto sampled = sample(graph, draw, {.fanout = 10, .key = {.seed = 2}}, 2);
  std::map<std::vector<std::int32_t>, int> counts;
  for (const std::int32_t item : sampled.items) ++counts[{item}];
  // 99 degrees of freedom (the draws without replacement spread less, not more): the 99.9 % quantile is 148.2.
  EXPECT_LT(chi_square(counts, 2000, 100), 148.2);
}

TEST(CsrSample, RepeatedEdgesAreDrawnAsListed) {
  const Csr graph = build(1, 10, {{0, 2}, {0, 2}, {0, 5}, {0, 5}, {0, 7}}, DuplicateEdges::kKeep);
  Draw draw;
  draw.add(0, 1);
  draw.add(0, 1, 5);
  const auto sampled = sample(graph, draw, {.fanout = 64});
  EXPECT_EQ(items_of(sampled, 0), (std::vector<std::int32_t>{2, 2, 5, 5, 7}));
  EXPECT_EQ(items_of(sampled, 1), (std::vector<std::int32_t>{2, 2, 7})) << "every copy of the excluded one is gone";
}

TEST(CsrSample, ReusesItsOutputAndTakesNothing) {
  const Csr graph = staircase(10);
  CpuContext ctx(1);
  SampledNeighbors out{.ptr = {1, 2, 3}, .items = {9, 9, 9, 9}};
  csr_sample(ctx, out, graph, {}, {}, {}, {});
  EXPECT_EQ(out.ptr, std::vector<std::int32_t>{0});
  EXPECT_TRUE(out.items.empty());
}

TEST(CsrSample, RefusesBadArguments) {
  const Csr graph = staircase(10);
  Draw draw;
  draw.add(3, 0);
  EXPECT_NO_THROW(sample(graph, draw, {.fanout = 64}));
  EXPECT_THROW(sample(graph, draw, {.fanout = 0}), CheckError);
  EXPECT_THROW(sample(graph, draw, {.fanout = 65}), CheckError);
  for (const std::int32_t node : {-1, 10}) {
    draw.nodes[0] = node;
    EXPECT_THROW(sample(graph, draw, {}), CheckError);
  }
  draw.nodes[0] = 3;
  draw.exclude.push_back(1);
  EXPECT_THROW(sample(graph, draw, {}), CheckError);
}

}  // namespace
}  // namespace galrec
