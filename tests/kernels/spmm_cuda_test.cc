// The CUDA product against the definition in double, on quantised inputs.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/spmm/spmm.h"
#include "tests/kernels/spmm_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using Case = test::SpmmCase;
using test::graph_of;
using test::ragged_graph;
using Results = test::SpmmResults;
using test::SparseGraph;
using test::Staged;

template <class T>
Case make_case(SparseGraph g, std::int64_t cols, std::int64_t gap = 0) {
  Case k(std::move(g), cols, gap);
  k.x = test::quantized<T>(k.x);
  k.y = test::quantized<T>(k.y);
  return k;
}

template <class T>
Results run(CudaContext& ctx, const Case& k) {
  const auto rows = k.graph.rows;
  const Staged<T> x(ctx, k.graph.cols, k.cols, k.x, k.gap);
  const Staged<T> y =
      k.accumulate == Accumulate::kAdd ? Staged<T>(ctx, rows, k.cols, k.y, k.gap) : Staged<T>(ctx, rows, k.cols, k.gap);
  const Staged<float> total(ctx, rows, k.cols, k.total, k.gap), out_scale(ctx, 1, rows, k.out_scale),
      in_scale(ctx, 1, k.graph.cols, k.in_scale);
  const Staged<std::int32_t> row_ptr(ctx, 1, rows + 1, k.graph.row_ptr),
      col_idx(ctx, 1, static_cast<std::int64_t>(k.graph.col_idx.size()), k.graph.col_idx);
  spmm<T>(ctx, y, k.with_total ? total.view() : View<float, 2>(), {row_ptr, col_idx}, x,
          k.out_scaled ? out_scale.vector() : View<float, 1>(), k.in_scaled ? in_scale.vector() : View<float, 1>(),
          k.accumulate);
  ctx.synchronize();
  return {y.doubles(), total.doubles()};
}

template <class T>
void check(CudaContext& ctx, const Case& k, const std::string& what) {
  const auto expected = test::naive_spmm(k);
  const auto actual = run<T>(ctx, k);
  test::expect_close(actual.y, expected.y, test::Tolerance<T>::kRelative, what + " y");
  test::expect_close(actual.total, expected.total, test::Tolerance<float>::kRelative, what + " total");
}

template <class B>
class SpmmCuda : public testing::Test {};
TYPED_TEST_SUITE(SpmmCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(SpmmCuda, EqualsTheDefinitionOnHostileShapes) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto& sizes = test::hostile_extents();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (const std::int64_t cols : {1, 7, 8, 31, 32, 64, 127, 128, 136, 257}) {
      if (sizes[i] == 769 && cols != 64) continue;
      const std::int64_t gap = cols % 8 == 0 ? (i % 2 == 0 ? 0 : 8) : 3;
      const auto k = make_case<T>(ragged_graph(sizes[i], sizes[(i + 2) % sizes.size()], i), cols, gap);
      check<T>(ctx, k, fmt::format("{} x {}, {} columns", k.graph.rows, k.graph.cols, cols));
    }
  }
}

TYPED_TEST(SpmmCuda, ScalesTotalsAndAccumulationAreOptions) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (int bits = 0; bits < 16; ++bits) {
    auto k = make_case<T>(ragged_graph(61, 57, 9), 40);
    k.out_scaled = bits & 1;
    k.in_scaled = bits & 2;
    k.with_total = bits & 4;
    k.accumulate = bits & 8 ? Accumulate::kAdd : Accumulate::kOverwrite;
    check<T>(ctx, k, fmt::format("options {}", bits));
  }
}

// Long rows wherever they can lie in windows of 256 edges: aligned, one edge off, several in a row, after empty ones.
TYPED_TEST(SpmmCuda, LongRowsAnywhere) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::vector<std::vector<std::int64_t>> layouts = {{257},
                                                          {256, 257, 255, 258},
                                                          {0, 0, 512, 0, 512, 0},
                                                          {255, 257, 1, 511, 513},
                                                          {1, 256, 256, 300, 3, 3, 900, 0},
                                                          {5000, 0, 0, 1},
                                                          {100, 412, 257, 0},
                                                          {256, 256, 512, 768},
                                                          {300, 301, 302, 303},
                                                          {0, 255, 1, 769, 255, 0, 257}};
  for (const auto& degrees : layouts) {
    for (const std::int64_t cols : {5, 64})
      check<T>(ctx, make_case<T>(graph_of(degrees, 77, 4), cols),
               fmt::format("{} rows from {}", degrees.size(), degrees[0]));
  }
}

TYPED_TEST(SpmmCuda, BitsDoNotDependOnOrders) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto k = make_case<T>(ragged_graph(300, 200, 4), 64);
  const auto once = run<T>(ctx, k);
  test::for_each_schedule([&](const std::string& what) {
    const auto again = run<T>(ctx, k);
    test::expect_same_bits(again.y, once.y, what);
    test::expect_same_bits(again.total, once.total, what);
  });
}

TYPED_TEST(SpmmCuda, GraphsWithoutEdgesOrRows) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  check<T>(ctx, make_case<T>(graph_of({0, 0, 0}, 3, 1), 64), "no edges");
  check<T>(ctx, make_case<T>(graph_of({}, 3, 1), 64), "no rows");
}

TYPED_TEST(SpmmCuda, BadGraphsAreReportedAndLeftOut) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const auto expect_fault = [&](Case k, const std::string& words) {
    try {
      run<T>(ctx, k);
      ADD_FAILURE() << "unnoticed: " << words;
    } catch (const CheckError& error) {
      EXPECT_NE(std::string(error.what()).find("spmm: " + words), std::string::npos) << error.what();
    }
  };
  const auto good = make_case<T>(graph_of({2, 300, 3}, 10, 1), 16);
  for (const std::int32_t bad : {10, -1}) {
    for (const std::size_t at : {0, 150, 304}) {
      auto k = good;
      k.graph.col_idx[at] = bad;
      expect_fault(k, fmt::format("got id {}, expected 0 to 9", bad));
    }
  }
  auto falling = good;
  falling.graph.row_ptr[1] = 303;
  expect_fault(falling, "offset");
  auto outside = good;
  outside.graph.row_ptr[3] = 306;
  expect_fault(outside, "offset");
}

TYPED_TEST(SpmmCuda, RefusesBadArguments) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Staged<T> x(ctx, 3, 4, std::vector<double>(12, 1.0)), y(ctx, 2, 4), square(ctx, 3, 4);
  const Staged<float> two(ctx, 1, 2, std::vector<double>(2, 1.0)), three(ctx, 1, 3, std::vector<double>(3, 1.0)),
      total(ctx, 3, 4);
  const Staged<std::int32_t> ptr(ctx, 1, 3, std::vector<std::int32_t>{0, 1, 3}),
      long_ptr(ctx, 1, 4, std::vector<std::int32_t>{0, 1, 2, 3}), col(ctx, 1, 3, std::vector<std::int32_t>{0, 1, 2});
  const auto call = [&](View<T, 2> to, View<const T, 2> from, View<const std::int32_t, 1> offsets,
                        View<const float, 1> out = {}, View<const float, 1> in = {}, View<float, 2> sum = {}) {
    spmm<T>(ctx, to, sum, {offsets, col}, from, out, in, Accumulate::kOverwrite);
  };
  EXPECT_NO_THROW(call(y, x, ptr, two, three));
  EXPECT_THROW(call(y, x, long_ptr), CheckError) << "rows of y";
  EXPECT_THROW(call(y, x.view().slice_cols(0, 3), ptr), CheckError) << "columns";
  EXPECT_THROW(call(y, x, ptr, three), CheckError) << "out_scale";
  EXPECT_THROW(call(y, x, ptr, {}, two), CheckError) << "in_scale";
  EXPECT_THROW(call(y, x, ptr, {}, {}, total), CheckError) << "total";
  EXPECT_THROW(call(x, x, long_ptr), CheckError) << "alias";
}

}  // namespace
}  // namespace galrec

#endif
