#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using test::Matrix;
using Ids = std::vector<std::int32_t>;

View<const std::int32_t, 1> view(const Ids& ids) {
  return view_of(ids);
}

template <class T>
std::vector<T> forward(const std::vector<double>& table, std::int64_t table_rows, std::int64_t cols, const Ids& ids,
                       int threads = 2) {
  CpuContext ctx(threads);
  const auto n = static_cast<std::int64_t>(ids.size());
  Matrix<T> t(table_rows, cols, table, 3), y(n, cols, cols);
  embedding_forward<T>(ctx, y, t, view(ids), Accumulate::kOverwrite);
  return y.values();
}

template <class T>
std::vector<T> backward(const std::vector<double>& dy, std::int64_t table_rows, std::int64_t cols, const Ids& ids,
                        int threads = 2) {
  CpuContext ctx(threads);
  Matrix<T> g(static_cast<std::int64_t>(ids.size()), cols, dy, 2), dtable(table_rows, cols, 3);
  embedding_backward<T>(ctx, dtable, g, view(ids), Accumulate::kOverwrite);
  return dtable.values();
}

// Half of the positions repeat a handful of ids, as the words of a prompt template do.
Ids mixed_ids(std::int64_t n, std::int32_t rows, std::uint64_t seed) {
  auto ids = test::random_ids(n, rows, seed);
  for (std::int64_t i = 0; i < n; i += 2) ids[i] %= std::min(rows, 3);
  return ids;
}

TEST(Embedding, ForwardCopiesOrAddsRows) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int64_t n : {1, 33, 257}) {
      const std::int64_t rows = 100;
      const auto table = test::random_normal<double>(rows * cols, 1), start = test::random_normal<double>(n * cols, 2);
      const auto ids = test::random_ids(n, rows, 3);
      std::vector<double> copied, added;
      for (std::int64_t i = 0; i < n * cols; ++i) {
        copied.push_back(table[ids[i / cols] * cols + i % cols]);
        added.push_back(start[i] + copied.back());
      }
      test::expect_same_bits(forward<double>(table, rows, cols, ids), copied, "y");
      test::expect_same_bits(forward<float>(table, rows, cols, ids), test::convert<float>(copied), "float y");
      CpuContext ctx(2);
      Matrix<double> t(rows, cols, table), y(n, cols, start);
      embedding_forward<double>(ctx, y, t, view(ids), Accumulate::kAdd);
      test::expect_same_bits(y.values(), added, "y + row");
    }
  }
}

TEST(Embedding, BackwardIsTheDerivative) {
  const std::int64_t rows = 20, cols = 33, n = 50;
  auto table = test::random_normal<double>(rows * cols, 1);
  const auto dy = test::random_normal<double>(n * cols, 2);
  const auto ids = mixed_ids(n, rows, 3);
  const auto objective = [&] {
    const auto y = forward<double>(table, rows, cols, ids, 1);
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
    return total;
  };
  test::expect_gradient(objective, table, backward<double>(dy, rows, cols, ids), "dtable");
}

// Sums in position order have one possible result, so bits can be compared with the plain loop.
TEST(Embedding, BackwardSumsInPositionOrder) {
  for (std::int64_t cols : test::hostile_extents()) {
    for (std::int32_t rows : {1, 33, 2049, 70000}) {  // one, two and no digits of the sort
      if (rows == 70000 && cols > 33) continue;
      const std::int64_t n = 769;
      const auto dy = test::random_normal<double>(n * cols, 2);
      for (const auto& ids : {mixed_ids(n, rows, 3), Ids(n, rows - 1)}) {
        std::vector<float> expected(static_cast<std::size_t>(rows * cols), 0.0f);
        for (std::int64_t i = 0; i < n * cols; ++i)
          expected[ids[i / cols] * cols + i % cols] += static_cast<float>(dy[i]);
        for (int threads = 1; threads <= 4; ++threads) {
          test::expect_same_bits(backward<float>(dy, rows, cols, ids, threads), expected,
                                 std::to_string(rows) + "x" + std::to_string(cols));
        }
      }
    }
  }
}

TEST(Embedding, BackwardAddsToWhatIsThere) {
  const std::int64_t rows = 50, cols = 70, n = 300;
  const auto dy = test::random_normal<double>(n * cols, 2), start = test::random_normal<double>(rows * cols, 4);
  const auto ids = mixed_ids(n, rows, 3);
  auto expected = backward<double>(dy, rows, cols, ids);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += start[i];
  CpuContext ctx(2);
  Matrix<double> g(n, cols, dy), dtable(rows, cols, start);
  embedding_backward<double>(ctx, dtable, g, view(ids), Accumulate::kAdd);
  test::expect_close(dtable.values(), expected, 1e-13, "dtable");
}

TEST(Embedding, NothingLookedUpClearsTheGradient) {
  CpuContext ctx(1);
  Matrix<float> dtable(5, 7);
  embedding_backward<float>(ctx, dtable, View<float, 2>(nullptr, {0, 7}), {}, Accumulate::kOverwrite);
  EXPECT_EQ(dtable.values(), std::vector<float>(35, 0.0f));
}

TEST(EmbeddingErrors, IdsOutOfRangeAndShapesAreNamed) {
  CpuContext ctx(1);
  Matrix<float> table(5, 7, std::vector<float>(35, 1.0f)), y(3, 7), wide(3, 8);
  constexpr auto kSet = Accumulate::kOverwrite;
  for (const Ids& ids : {Ids{0, 1, 5}, Ids{0, -1, 2}, Ids{0, 1}}) {
    EXPECT_THROW(embedding_forward<float>(ctx, y, table, view(ids), kSet), CheckError);
    EXPECT_THROW(embedding_backward<float>(ctx, table, y, view(ids), kSet), CheckError);
  }
  const Ids good = {0, 1, 2};
  EXPECT_THROW(embedding_forward<float>(ctx, wide, table, view(good), kSet), CheckError);
  EXPECT_THROW(embedding_backward<float>(ctx, table, wide, view(good), kSet), CheckError);
  EXPECT_EQ(table.values(), std::vector<float>(35, 1.0f));  // nothing was cleared on the way
  try {
    const Ids bad = {0, 7, 2};
    embedding_forward<float>(ctx, y, table, view(bad), kSet);
  } catch (const CheckError& error) {
    EXPECT_NE(std::string(error.what()).find("id 7 at position 1 of a table of 5 rows"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace galrec
