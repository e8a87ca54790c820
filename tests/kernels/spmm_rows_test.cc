// Chosen rows of the product, the product whose only wish is the running total, and inputs of which most rows are zero:
// what a training step of LightGCN asks for. All three have the bits of the whole product.

#include <gtest/gtest.h>

#include "kernels/spmm/spmm.h"
#include "tests/kernels/spmm_cases.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::graph_of;
using test::SparseGraph;
using test::SpmmCase;
using test::Staged;

/// A case in the memory of a backend.
template <class B>
struct Inputs {
  using T = typename B::Value;
  using Context = typename B::Context;
  Staged<T> x;
  Staged<Acc<T>> out_scale, in_scale;
  Staged<std::int32_t> row_ptr, col_idx;
  Inputs(Context& ctx, const SpmmCase& k)
      : x(ctx, k.graph.cols, k.cols, test::quantized<T>(k.x), k.gap),
        out_scale(ctx, 1, k.graph.rows, k.out_scale),
        in_scale(ctx, 1, k.graph.cols, k.in_scale),
        row_ptr(ctx, 1, k.graph.rows + 1, k.graph.row_ptr),
        col_idx(ctx, 1, static_cast<std::int64_t>(k.graph.col_idx.size()), k.graph.col_idx) {}
  CsrView graph() const { return {row_ptr.vector(), col_idx.vector()}; }
};

template <class B>
std::vector<double> whole(typename B::Context& ctx, const SpmmCase& k) {
  using T = typename B::Value;
  const Inputs<B> in(ctx, k);
  const Staged<T> y(ctx, k.graph.rows, k.cols, k.gap);
  spmm<T>(ctx, y, {}, in.graph(), in.x, in.out_scale.vector(), in.in_scale.vector(), Accumulate::kOverwrite);
  ctx.synchronize();
  return y.doubles();
}

template <class B>
class SpmmRowsCuda : public testing::Test {};
TYPED_TEST_SUITE(SpmmRowsCuda, test::Backends, test::BackendNames);

const std::vector<std::int64_t> kDegrees = {0, 1, 700, 5, 256, 257, 12, 3};  // hubs of whole and of broken pieces

TYPED_TEST(SpmmRowsCuda, ChosenRowsHaveTheBitsOfTheWhole) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::vector<std::int32_t> rows = {5, 2, 0, 2, 7, 4, 1, 1, 3};
  for (const std::int64_t cols : {1, 7, 32, 64, 100, 136, 257}) {
    const SpmmCase k(graph_of(kDegrees, 40, 3), cols, cols % 8 == 0 ? 8 : 3);
    const auto expected = whole<TypeParam>(ctx, k);
    const Inputs<TypeParam> in(ctx, k);
    const auto count = static_cast<std::int64_t>(rows.size());
    const Staged<T> y(ctx, count, cols, k.gap);
    const Staged<std::int32_t> list(ctx, 1, count, rows);
    spmm_rows<T>(ctx, y, in.graph(), list.vector(), in.x, in.out_scale.vector(), in.in_scale.vector());
    ctx.synchronize();
    const auto actual = y.doubles();
    for (std::size_t n = 0; n < rows.size(); ++n) {
      for (std::int64_t c = 0; c < cols; ++c) {
        const auto at = n * static_cast<std::size_t>(cols) + static_cast<std::size_t>(c);
        ASSERT_EQ(actual[at], expected[static_cast<std::size_t>(rows[n] * cols + c)]) << "row " << rows[n] << ", column " << c << " of " << cols;
      }
    }
  }
}

TYPED_TEST(SpmmRowsCuda, TheTotalAlone) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t cols : {7, 64, 136}) {
    const SpmmCase k(graph_of(kDegrees, 40, 4), cols, 8);
    const Inputs<TypeParam> in(ctx, k);
    const auto run = [&](bool with_y) {
      const Staged<T> y(ctx, k.graph.rows, cols, k.gap);
      const Staged<Acc<T>> total(ctx, k.graph.rows, cols, k.total, k.gap);
      spmm<T>(ctx, with_y ? y.view() : View<T, 2>(), total, in.graph(), in.x, in.out_scale.vector(), in.in_scale.vector(), Accumulate::kOverwrite);
      ctx.synchronize();
      return total.doubles();
    };
    EXPECT_EQ(run(false), run(true)) << cols;
    EXPECT_NE(run(false), k.total);
  }
}

TYPED_TEST(SpmmRowsCuda, ZeroRowsOfXChangeNothing) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (const std::int64_t cols : {7, 64, 136}) {
    SpmmCase k(graph_of(kDegrees, 600, 5), cols);
    for (std::int64_t s = 0; s < k.graph.cols; ++s) {
      if (s % 7 == 0) continue;
      for (std::int64_t c = 0; c < cols; ++c) k.x[static_cast<std::size_t>(s * cols + c)] = 0;
    }
    k.x[static_cast<std::size_t>(cols)] = 1e-30;  // a row is zero only if all of it is
    auto quantised = k;
    quantised.x = test::quantized<typename TypeParam::Value>(k.x);
    test::expect_close(whole<TypeParam>(ctx, k), test::naive_spmm(quantised).y, test::Tolerance<typename TypeParam::Value>::kRelative,
                       std::to_string(cols));
  }
}

TYPED_TEST(SpmmRowsCuda, RefusesBadArguments) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const SpmmCase k(graph_of(kDegrees, 40, 6), 16);
  const Inputs<TypeParam> in(ctx, k);
  const Staged<T> y(ctx, 2, 16);
  const auto call = [&](std::vector<std::int32_t> rows, View<T, 2> to) {
    const Staged<std::int32_t> list(ctx, 1, static_cast<std::int64_t>(rows.size()), rows);
    spmm_rows<T>(ctx, to, in.graph(), list.vector(), in.x, in.out_scale.vector(), in.in_scale.vector());
    ctx.synchronize();
  };
  EXPECT_NO_THROW(call({0, 7}, y));
  EXPECT_THROW(call({0}, y), CheckError) << "rows of y";
  EXPECT_THROW(call({0, 7}, y.view().slice_cols(0, 8)), CheckError) << "columns";
  EXPECT_THROW(call({0, 8}, y), CheckError) << "row past the end";
  EXPECT_THROW(call({-1, 0}, y), CheckError) << "negative row";
  const auto whole = [&](View<Acc<T>, 2> total, Accumulate accumulate) {
    spmm<T>(ctx, {}, total, in.graph(), in.x, in.out_scale.vector(), in.in_scale.vector(), accumulate);
  };
  EXPECT_THROW(whole({}, Accumulate::kOverwrite), CheckError) << "neither y nor a total";
}

}  // namespace
}  // namespace galrec
