#include "kernels/spmm/spmm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tests/kernels/spmm_cases.h"
#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/guarded.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using Case = test::SpmmCase;
using Graph = test::SparseGraph;
using test::Matrix;
using test::ragged_graph;
using test::Tolerance;

Graph transposed(const Graph& g) {
  Graph t{g.cols, g.rows};
  for (std::int64_t c = 0; c < g.cols; ++c) {
    for (std::int64_t r = 0; r < g.rows; ++r) {
      for (std::int32_t e = g.row_ptr[r]; e < g.row_ptr[r + 1]; ++e) {
        if (g.col_idx[e] == c) t.col_idx.push_back(static_cast<std::int32_t>(r));
      }
    }
    t.row_ptr.push_back(static_cast<std::int32_t>(t.col_idx.size()));
  }
  return t;
}

template <class T>
struct Ran {
  std::vector<T> y, total;
};

template <class T>
Ran<T> run(const Case& k, int threads) {
  CpuContext ctx(threads);
  Matrix<T> x(k.graph.cols, k.cols, k.x), total(k.graph.rows, k.cols, k.total, 3);
  std::optional<Matrix<T>> y;
  if (k.accumulate == Accumulate::kAdd) y.emplace(k.graph.rows, k.cols, k.y, 1);
  else y.emplace(k.graph.rows, k.cols, 1);
  const auto out_scale = test::convert<T>(k.out_scale), in_scale = test::convert<T>(k.in_scale);
  spmm<T>(ctx, y->view(), k.with_total ? total.view() : View<T, 2>(), CsrView{view_of(k.graph.row_ptr), view_of(k.graph.col_idx)}, x.view(),
          k.out_scaled ? view_of(out_scale) : View<const T, 1>(), k.in_scaled ? view_of(in_scale) : View<const T, 1>(), k.accumulate);
  return {y->values(), total.values()};
}

template <class T>
void check(const Case& k, const std::string& what) {
  const auto expected = test::naive_spmm(k);
  const auto ran = run<T>(k, 2);
  test::expect_close(ran.y, expected.y, Tolerance<T>::kRelative, what + " y");
  test::expect_close(ran.total, expected.total, Tolerance<T>::kRelative, what + " total");
}

TEST(Spmm, EqualsTheDefinitionOnHostileShapes) {
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (const std::int64_t cols : {1, 7, 16, 31, 33, 64, 127, 128, 257}) {
      const Case k(ragged_graph(sizes[i], sizes[(i + 2) % sizes.size()], i), cols);
      const std::string what = fmt::format("{} x {}, {} columns", k.graph.rows, k.graph.cols, cols);
      check<float>(k, what + " float");
      check<double>(k, what + " double");
    }
  }
}

TEST(Spmm, ScalesTotalsAndAccumulationAreOptions) {
  for (int bits = 0; bits < 16; ++bits) {
    Case k(ragged_graph(127, 257, 9), 64 + 31);
    k.out_scaled = bits & 1;
    k.in_scaled = bits & 2;
    k.with_total = bits & 4;
    k.accumulate = bits & 8 ? Accumulate::kAdd : Accumulate::kOverwrite;
    check<float>(k, fmt::format("options {} float", bits));
    check<double>(k, fmt::format("options {} double", bits));
  }
}

TEST(Spmm, GraphsWithoutEdgesOrRows) {
  Case no_edges({5, 3, std::vector<std::int32_t>(6, 0), {}}, 64);
  check<float>(no_edges, "no edges");
  for (float value : run<float>(no_edges, 1).y) EXPECT_EQ(value, 0.0f);
  check<float>(Case({0, 3, {0}, {}}, 64), "no rows");
}

// dx is the same operation on the transposed graph with the scales swapped: checked against differences of the forward.
TEST(Spmm, BackwardIsTheTransposedGraph) {
  Case forward(ragged_graph(33, 31, 3), 5);
  forward.with_total = false;
  const auto weights = test::random_normal<double>(33 * 5, 6);  // the loss is sum(weights * y)
  const auto loss = [&] {
    const auto y = run<double>(forward, 1).y;
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  Case backward(transposed(forward.graph), 5);
  backward.with_total = false;
  backward.x = weights;
  backward.out_scale = forward.in_scale;
  backward.in_scale = forward.out_scale;
  test::expect_gradient(loss, forward.x, run<double>(backward, 2).y, "dx", 1e-8);
}

TEST(Spmm, BitsDoNotDependOnThreads) {
  const Case k(ragged_graph(5000, 3000, 4), 64);
  ASSERT_GT(k.graph.col_idx.size(), 3u * 4096u) << "several blocks of work";
  const auto one = run<float>(k, 1);
  const auto one_double = run<double>(k, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    test::expect_same_bits(run<float>(k, threads).y, one.y, "y");
    test::expect_same_bits(run<float>(k, threads).total, one.total, "total");
    test::expect_same_bits(run<double>(k, threads).y, one_double.y, "y double");
  }
  check<float>(k, "many blocks");
}

TEST(Spmm, OneRowWithMostOfTheEdges) {
  Graph g{900, 700};
  for (std::int64_t r = 0; r < 900; ++r) {
    for (std::int64_t e = 0; e < (r == 450 ? 20000 : r % 2); ++e) g.col_idx.push_back(static_cast<std::int32_t>((e * 37 + r) % 700));
    g.row_ptr.push_back(static_cast<std::int32_t>(g.col_idx.size()));
  }
  check<double>(Case(g, 64), "hub");
  check<float>(Case(std::move(g), 64), "hub");
}

TEST(Spmm, RefusesBadArguments) {
  CpuContext ctx(2);
  std::vector<double> x(12, 1.0), y(8), three(3), two(2);
  const auto in = view_of(x, 3, 4), out = view_of(y, 2, 4);
  const auto call = [&](View<double, 2> to, View<const double, 2> from, std::vector<std::int32_t> ptr, std::vector<std::int32_t> col,
                        View<const double, 1> out_scale = {}, View<const double, 1> in_scale = {}, View<double, 2> total = {}) {
    spmm<double>(ctx, to, total, {view_of(std::as_const(ptr)), view_of(std::as_const(col))}, from, out_scale, in_scale, Accumulate::kOverwrite);
  };
  EXPECT_NO_THROW(call(out, in, {0, 1, 3}, {0, 1, 2}, view_of(two), view_of(three)));
  EXPECT_THROW(call(out, in, {0, 1, 3}, {0, 1, 3}), CheckError) << "column past the end";
  EXPECT_THROW(call(out, in, {0, 1, 3}, {0, -1, 2}), CheckError) << "negative column";
  EXPECT_THROW(call(out, in, {0, 1, 3}, {0, 1}), CheckError) << "offsets past the columns";
  EXPECT_THROW(call(out, in, {0, 3, 2}, {0, 1, 2}), CheckError) << "falling offsets";
  EXPECT_THROW(call(out, in, {1, 2, 3}, {0, 1, 2}), CheckError) << "first offset";
  EXPECT_THROW(call(out, in, {0, 1, 2, 3}, {0, 1, 2}), CheckError) << "rows of y";
  EXPECT_THROW(call(out, in.slice_cols(0, 3), {0, 1, 3}, {0, 1, 2}), CheckError) << "columns";
  EXPECT_THROW(call(out, in, {0, 1, 3}, {0, 1, 2}, view_of(three)), CheckError) << "out_scale";
  EXPECT_THROW(call(out, in, {0, 1, 3}, {0, 1, 2}, {}, view_of(two)), CheckError) << "in_scale";
  EXPECT_THROW(call(out, in, {0, 1, 3}, {0, 1, 2}, {}, {}, view_of(x, 3, 4)), CheckError) << "total";
  EXPECT_THROW(call(view_of(x, 3, 4), in, {0, 1, 2, 3}, {0, 1, 2}), CheckError) << "alias";
}

}  // namespace
}  // namespace galrec
