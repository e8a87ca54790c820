#include "kernels/common/view.h"

#include <gtest/gtest.h>

#include <numeric>
#include <type_traits>
#include <vector>

namespace galrec {
namespace {

std::vector<float> counted(int n) {
  std::vector<float> x(n);
  std::iota(x.begin(), x.end(), 0.0f);
  return x;
}

TEST(ViewTest, DenseStridesAreRowMajor) {
  auto x = counted(24);
  const View<float, 3> v(x.data(), {2, 3, 4});
  EXPECT_EQ(v.stride, (std::array<std::int64_t, 3>{12, 4, 1}));
  EXPECT_EQ(v.size(), 24);
  EXPECT_TRUE(v.is_dense());
  const View<float, 2> m(x.data(), {6, 4});
  EXPECT_EQ(m(5, 3), 23.0f);
  EXPECT_EQ(m.row(2), x.data() + 8);
  EXPECT_EQ(m.rows(), 6);
  EXPECT_EQ(m.cols(), 4);
}

TEST(ViewTest, SlicesShareMemory) {
  auto x = counted(24);
  const View<float, 2> m(x.data(), {6, 4});
  const auto rows = m.slice_rows(2, 3);
  EXPECT_EQ(rows(0, 0), 8.0f);
  EXPECT_EQ(rows.rows(), 3);
  EXPECT_TRUE(rows.is_dense());
  const auto columns = m.slice_cols(1, 2);
  EXPECT_EQ(columns(5, 1), 22.0f);
  EXPECT_FALSE(columns.is_dense());
  EXPECT_TRUE(columns.slice_rows(0, 1).is_dense()) << "one row has no gaps";
  columns(0, 0) = -1;
  EXPECT_EQ(x[1], -1.0f);
  const View<float, 1> line(x.data(), {24});
  EXPECT_EQ(line.slice(20, 4)[3], 23.0f);
  EXPECT_EQ(m.slice_rows(6, 0).size(), 0);
}

TEST(ViewTest, SlicesBeyondTheEndAreErrors) {
  auto x = counted(24);
  const View<float, 2> m(x.data(), {6, 4});
  EXPECT_THROW(m.slice_rows(4, 3), CheckError);
  EXPECT_THROW(m.slice_rows(-1, 2), CheckError);
  EXPECT_THROW(m.slice_rows(2, -1), CheckError);
  EXPECT_THROW(m.slice_cols(3, 2), CheckError);
  EXPECT_THROW((View<float, 1>(x.data(), {24}).slice(24, 1)), CheckError);
  EXPECT_THROW(view_of(x, 5, 5), CheckError);
}

TEST(ViewTest, ConvertsToConstOnly) {
  static_assert(std::is_convertible_v<View<float, 2>, View<const float, 2>>);
  static_assert(!std::is_convertible_v<View<const float, 2>, View<float, 2>>);
  static_assert(std::is_same_v<ConstView<double, 1>, View<const double, 1>>);
  const std::vector<float> x = counted(6);
  const auto v = view_of(x);
  static_assert(std::is_same_v<decltype(v), const View<const float, 1>>);
  EXPECT_EQ(v[5], 5.0f);
}

TEST(ViewTest, EmptyAndNull) {
  const View<float, 2> nothing;
  EXPECT_TRUE(nothing.empty());
  EXPECT_FALSE(nothing);
  auto x = counted(2);
  const View<float, 2> no_rows(x.data(), {0, 2});
  EXPECT_TRUE(no_rows.empty());
  EXPECT_TRUE(no_rows);
}

}  // namespace
}  // namespace galrec
