#pragma once
// What the tests of the sparse product share on every backend: ragged graphs, and the definition in double.

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/common/philox.h"
#include "kernels/common/view.h"
#include "tests/support/random.h"

namespace galrec::test {

struct SparseGraph {
  std::int64_t rows, cols;
  std::vector<std::int32_t> row_ptr = {0}, col_idx = {};
};

/// Repeated and unsorted columns, which are legal.
inline SparseGraph graph_of(const std::vector<std::int64_t>& degrees, std::int64_t cols, std::uint64_t seed) {
  SparseGraph g{static_cast<std::int64_t>(degrees.size()), cols};
  for (const auto degree : degrees) g.row_ptr.push_back(static_cast<std::int32_t>(g.row_ptr.back() + degree));
  g.col_idx = random_ids(g.row_ptr.back(), static_cast<std::int32_t>(cols), seed);
  return g;
}

/// Degrees 0, 1, small, and now and then a hub that is longer than the pieces in which kernels sum.
inline SparseGraph ragged_graph(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  std::vector<std::int64_t> degrees;
  PhiloxStream random({.seed = seed});
  for (std::int64_t r = 0; r < rows; ++r)
    degrees.push_back(static_cast<std::int64_t>(random.below(random.below(7) == 0 ? 700 : 12)));
  return graph_of(degrees, cols, seed);
}

/// y = out_scale G (in_scale x) (+ y), total += y.
struct SpmmCase {
  SparseGraph graph;
  std::int64_t cols, gap = 0;
  bool out_scaled = true, in_scaled = true, with_total = true;
  Accumulate accumulate = Accumulate::kOverwrite;
  std::vector<double> x, y, total, out_scale, in_scale;

  SpmmCase(SparseGraph g, std::int64_t c, std::int64_t between = 0) : graph(std::move(g)), cols(c), gap(between) {
    x = random_normal<double>(graph.cols * c, 1);
    y = random_normal<double>(graph.rows * c, 2);
    total = random_normal<double>(graph.rows * c, 3);
    out_scale = random_normal<double>(graph.rows, 4);
    in_scale = random_normal<double>(graph.cols, 5);
  }
};

struct SpmmResults {
  std::vector<double> y, total;
};

/// The definition, edge by edge. Without a total it stays as it is.
inline SpmmResults naive_spmm(const SpmmCase& k) {
  SpmmResults out{k.y, k.total};
  for (std::int64_t r = 0; r < k.graph.rows; ++r) {
    for (std::int64_t c = 0; c < k.cols; ++c) {
      double sum = 0;
      for (std::int32_t e = k.graph.row_ptr[r]; e < k.graph.row_ptr[r + 1]; ++e) {
        const std::int32_t s = k.graph.col_idx[e];
        sum += (k.in_scaled ? k.in_scale[s] : 1) * k.x[s * k.cols + c];
      }
      if (k.out_scaled) sum *= k.out_scale[r];
      double& y = out.y[r * k.cols + c];
      y = k.accumulate == Accumulate::kAdd ? y + sum : sum;
      if (k.with_total) out.total[r * k.cols + c] += y;
    }
  }
  return out;
}

}  // namespace galrec::test
