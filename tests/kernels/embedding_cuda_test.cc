// The CUDA look-up and its gradient against the double oracle and, where the order of additions is the same, the CPU's
// bits.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/embedding/embedding.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;
using Ids = std::vector<std::int32_t>;

// Gaps that keep rows on 16 bytes, and one that does not.
constexpr std::int64_t kGaps[] = {0, 8, 3};

template <class T, class Table>
std::vector<double> forward(CudaContext& ctx, const std::vector<double>& table, std::int64_t table_rows,
                            std::int64_t cols, const Ids& ids, std::int64_t gap,
                            const std::vector<double>* start = nullptr) {
  const auto n = static_cast<std::int64_t>(ids.size());
  const Staged<Table> t(ctx, table_rows, cols, table, gap);
  const Staged<std::int32_t> i(ctx, 1, n, ids);
  const Staged<T> y = start == nullptr ? Staged<T>(ctx, n, cols, gap) : Staged<T>(ctx, n, cols, *start, gap);
  embedding_forward<T, Table>(ctx, y, t, i.vector(), start == nullptr ? Accumulate::kOverwrite : Accumulate::kAdd);
  ctx.synchronize();
  return y.doubles();
}

template <class T>
std::vector<float> backward(CudaContext& ctx, const std::vector<double>& dy, std::int64_t table_rows, std::int64_t cols,
                            const Ids& ids, std::int64_t gap, const std::vector<double>* start = nullptr) {
  const auto n = static_cast<std::int64_t>(ids.size());
  const Staged<T> g(ctx, n, cols, dy, gap);
  const Staged<std::int32_t> i(ctx, 1, n, ids);
  const Staged<float> dtable =
      start == nullptr ? Staged<float>(ctx, table_rows, cols, gap) : Staged<float>(ctx, table_rows, cols, *start, gap);
  embedding_backward<T>(ctx, dtable, g, i.vector(), start == nullptr ? Accumulate::kOverwrite : Accumulate::kAdd);
  ctx.synchronize();
  return dtable.values();
}

// In position order from the start; ids that come more than 64 times in pieces of 64, then the pieces in order.
std::vector<float> in_order(const std::vector<double>& dy, std::int64_t table_rows, std::int64_t cols, const Ids& ids,
                            const std::vector<double>* start = nullptr) {
  std::vector<float> out(static_cast<std::size_t>(table_rows * cols), 0.0f);
  if (start != nullptr) std::copy(start->begin(), start->end(), out.begin());
  std::vector<std::vector<std::int64_t>> positions(static_cast<std::size_t>(table_rows));
  for (std::size_t i = 0; i < ids.size(); ++i)
    positions[static_cast<std::size_t>(ids[i])].push_back(static_cast<std::int64_t>(i));
  for (std::int64_t v = 0; v < table_rows; ++v) {
    const auto& p = positions[static_cast<std::size_t>(v)];
    for (std::int64_t c = 0; c < cols; ++c) {
      float& sum = out[static_cast<std::size_t>(v * cols + c)];
      for (std::size_t first = 0; first < p.size(); first += 64) {
        float piece = p.size() > 64 ? 0.0f : sum;
        for (std::size_t k = first; k < std::min(p.size(), first + 64); ++k)
          piece += static_cast<float>(dy[static_cast<std::size_t>(p[k] * cols + c)]);
        sum = p.size() > 64 ? sum + piece : piece;
      }
    }
  }
  return out;
}

// Half of the positions repeat a handful of ids, as the words of a prompt template do.
Ids mixed_ids(std::int64_t n, std::int32_t rows, std::uint64_t seed) {
  auto ids = test::random_ids(n, rows, seed);
  for (std::int64_t i = 0; i < n; i += 2) ids[static_cast<std::size_t>(i)] %= std::min(rows, 3);
  return ids;
}

template <class B>
class EmbeddingCuda : public testing::Test {};
TYPED_TEST_SUITE(EmbeddingCuda, test::CudaBackends, test::BackendNames);

TYPED_TEST(EmbeddingCuda, ForwardCopiesOrAddsRows) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (std::int64_t cols : {1, 31, 33, 127, 256, 257, 768, 769}) {
    for (std::int64_t n : {1, 33, 127}) {
      const std::int64_t rows = 100;
      const auto table = test::random_normal<double>(rows * cols, 1);
      const auto start = test::quantized<T>(test::random_normal<double>(n * cols, 2));
      const auto ids = test::random_ids(n, rows, 3);
      std::vector<double> copied, added, copied_shadow;
      const auto shadow = test::quantized<T>(table);
      for (std::int64_t i = 0; i < n * cols; ++i) {
        const auto at = static_cast<std::size_t>(ids[static_cast<std::size_t>(i / cols)] * cols + i % cols);
        copied.push_back(table[at]);
        copied_shadow.push_back(shadow[at]);
        added.push_back(static_cast<float>(start[static_cast<std::size_t>(i)]) + static_cast<float>(table[at]));
      }
      for (std::int64_t gap : kGaps) {
        test::expect_same_bits(forward<T, float>(ctx, table, rows, cols, ids, gap), test::quantized<T>(copied), "y");
        test::expect_same_bits(forward<T, T>(ctx, shadow, rows, cols, ids, gap), copied_shadow, "y from the shadow");
        test::expect_same_bits(forward<T, float>(ctx, table, rows, cols, ids, gap, &start), test::quantized<T>(added),
                               "y + row");
      }
    }
  }
}

TYPED_TEST(EmbeddingCuda, BackwardSumsInPositionOrder) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  for (std::int64_t cols : {1, 31, 128}) {
    for (std::int32_t rows : {1, 33, 511, 512, 5000, 300000}) {  // one, two and three digits of the sort
      for (std::int64_t n : {1, 65, 769, 9001}) {
        if (cols > 1 && (rows > 512 || n > 769)) continue;
        if (rows == 300000 && n != 769) continue;
        const auto dy = test::quantized<T>(test::random_normal<double>(n * cols, 2));
        const auto start = test::random_normal<double>(rows * cols, 4);
        for (const auto& ids : {mixed_ids(n, rows, 3), Ids(static_cast<std::size_t>(n), rows - 1)}) {
          const std::string what = fmt::format("{} of {} x {}", n, rows, cols);
          const std::int64_t gap = kGaps[(n + rows + cols) % 3];
          test::expect_same_bits(backward<T>(ctx, dy, rows, cols, ids, gap), in_order(dy, rows, cols, ids), what);
          test::expect_same_bits(backward<T>(ctx, dy, rows, cols, ids, gap, &start),
                                 in_order(dy, rows, cols, ids, &start), what + " added");
        }
      }
    }
  }
}

// Segments of every length around a piece, one after another, so that pieces fall anywhere in windows of 64 positions.
TYPED_TEST(EmbeddingCuda, SegmentsOfAllLengths) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  Ids ids;
  std::int32_t id = 0;
  for (int length : {65, 1, 64, 63, 66, 127, 2, 128, 129, 3, 65, 65, 300, 31, 33, 1000, 64, 70}) {
    for (int i = 0; i < length; ++i) ids.push_back(id);
    id += 1 + length % 2;
  }
  // Interleaved, so that positions of a segment are not consecutive.
  const auto swaps = test::random_ids(static_cast<std::int64_t>(ids.size()), static_cast<std::int32_t>(ids.size()), 5);
  for (std::size_t i = 0; i < ids.size(); ++i) std::swap(ids[i], ids[static_cast<std::size_t>(swaps[i])]);
  const auto n = static_cast<std::int64_t>(ids.size());
  for (std::int64_t cols : {3, 72}) {
    const auto dy = test::quantized<T>(test::random_normal<double>(n * cols, 2));
    test::expect_same_bits(backward<T>(ctx, dy, id, cols, ids, 0), in_order(dy, id, cols, ids), "dtable");
  }
}

TYPED_TEST(EmbeddingCuda, BackwardIsCloseToTheOracle) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::int64_t rows = 50, cols = 72, n = 5000;
  const auto dy = test::quantized<T>(test::random_normal<double>(n * cols, 2));
  const auto ids = mixed_ids(n, rows, 3);
  CpuContext cpu(2);
  std::vector<double> expected(static_cast<std::size_t>(rows * cols));
  embedding_backward<double>(cpu, view_of(expected, rows, cols), view_of(dy, n, cols), view_of(ids),
                             Accumulate::kOverwrite);
  test::expect_close(backward<T>(ctx, dy, rows, cols, ids, 0), expected, 1e-6, "dtable");
}

TYPED_TEST(EmbeddingCuda, BitsDependNeitherOnRunsNorOnOrders) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::int64_t rows = 700, cols = 40, n = 6000;
  const auto dy = test::random_normal<double>(n * cols, 2);
  const auto ids = mixed_ids(n, rows, 3);
  const auto once = backward<T>(ctx, dy, rows, cols, ids, 0);
  test::for_each_schedule(
      [&](const std::string& what) { test::expect_same_bits(backward<T>(ctx, dy, rows, cols, ids, 0), once, what); });
}

TYPED_TEST(EmbeddingCuda, NothingLookedUpClearsTheGradient) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Staged<float> dtable(ctx, 20, 7);
  embedding_backward<T>(ctx, dtable, View<T, 2>(nullptr, {0, 7}), {}, Accumulate::kOverwrite);
  EXPECT_EQ(dtable.values(), std::vector<float>(140, 0.0f));
  embedding_backward<T>(ctx, dtable, View<T, 2>(nullptr, {0, 7}), {}, Accumulate::kAdd);
  EXPECT_EQ(dtable.values(), std::vector<float>(140, 0.0f));
  embedding_forward<T>(ctx, View<T, 2>(nullptr, {0, 7}), dtable.view(), {}, Accumulate::kOverwrite);
  ctx.synchronize();
}

TYPED_TEST(EmbeddingCuda, BadIdsAreReportedAndLeftOut) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const std::int64_t cols = 9, rows = 8;  // as many rows as bits can tell from a bad id only with one bit more
  for (const std::int32_t bad : {8, -1, 100000}) {
    const std::vector<double> ones(static_cast<std::size_t>(rows * cols), 1.0),
        start(static_cast<std::size_t>(3 * cols), 5.0);
    const Staged<float> table(ctx, rows, cols, ones);
    const Staged<T> y(ctx, 3, cols, start);
    const Staged<std::int32_t> ids(ctx, 1, 3, Ids{7, bad, 2});
    embedding_forward<T>(ctx, y, table, ids.vector(), Accumulate::kOverwrite);
    try {
      ctx.synchronize();
      ADD_FAILURE() << "id " << bad << " went unnoticed";
    } catch (const CheckError& error) {
      EXPECT_NE(std::string(error.what()).find(fmt::format("embedding: got id {}, expected 0 to 7", bad)),
                std::string::npos)
          << error.what();
    }
    ctx.synchronize();  // reported once
    const auto values = y.doubles();
    EXPECT_EQ(values[0], 1.0);
    EXPECT_EQ(values[static_cast<std::size_t>(cols)], 5.0);
    const Staged<float> dtable(ctx, rows, cols);
    embedding_backward<T>(ctx, dtable, y, ids.vector(), Accumulate::kOverwrite);
    EXPECT_THROW(ctx.synchronize(), CheckError);
    std::vector<float> expected(static_cast<std::size_t>(rows * cols), 0.0f);
    std::fill_n(expected.begin() + 7 * cols, cols, 1.0f);
    std::fill_n(expected.begin() + 2 * cols, cols, 1.0f);
    EXPECT_EQ(dtable.values(), expected);
  }
}

TYPED_TEST(EmbeddingCuda, ShapesAreChecked) {
  using T = typename TypeParam::Value;
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Staged<float> table(ctx, 5, 7);
  const Staged<T> y(ctx, 3, 7), wide(ctx, 3, 8);
  const Staged<std::int32_t> ids(ctx, 1, 3, Ids{0, 1, 2}), two(ctx, 1, 2, Ids{0, 1});
  constexpr auto kSet = Accumulate::kOverwrite;
  EXPECT_THROW(embedding_forward<T>(ctx, wide.view(), table, ids.vector(), kSet), CheckError);
  EXPECT_THROW(embedding_forward<T>(ctx, y.view(), table, two.vector(), kSet), CheckError);
  EXPECT_THROW(embedding_backward<T>(ctx, table.view(), wide, ids.vector(), kSet), CheckError);
  EXPECT_THROW(embedding_backward<T>(ctx, table.view(), y, two.vector(), kSet), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
