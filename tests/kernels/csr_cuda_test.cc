// Sampling on the device: the CPU's bits.

#if defined(GALREC_WITH_CUDA)

#include <gtest/gtest.h>

#include "kernels/csr/csr.h"
#include "tests/support/backends.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

struct Draw {
  std::vector<std::int32_t> nodes, exclude;
  std::vector<std::int64_t> ids;
};

// Rows with 0, 1, 2, ... neighbours, every seventh neighbour listed twice, so that every relation of degree and fanout
// occurs.
Csr staircase(std::int32_t rows) {
  CpuContext cpu(1);
  std::vector<std::int32_t> src, dst;
  for (std::int32_t r = 0; r < rows; ++r) {
    for (std::int32_t e = 0; e < r; ++e) {
      for (int copies = 0; copies < (e % 7 == 3 ? 2 : 1); ++copies) {
        src.push_back(r);
        dst.push_back(3 * e + r % 3);
      }
    }
  }
  return csr_build(cpu, rows, 3 * rows, view_of(std::as_const(src)), view_of(std::as_const(dst)),
                   DuplicateEdges::kKeep);
}

Draw big_draw(const Csr& graph, std::int64_t n) {
  Draw draw;
  draw.nodes = test::random_ids(n, graph.rows, 8);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t node = draw.nodes[i], degree = graph.degree(node);
    std::int32_t exclude = -1;
    if (i % 3 == 1 && degree > 0) exclude = graph.col_idx[graph.row_ptr[node] + i % degree];
    if (i % 3 == 2) exclude = static_cast<std::int32_t>(i % graph.cols);
    draw.exclude.push_back(exclude);
    draw.ids.push_back(1000 + 7 * i);
  }
  return draw;
}

SampledNeighbors on_cpu(const Csr& graph, const Draw& draw, const SampleOptions& options) {
  CpuContext cpu(1);
  SampledNeighbors out;
  csr_sample(cpu, out, graph, view_of(draw.nodes), view_of(draw.ids), view_of(draw.exclude), options);
  return out;
}

SampledNeighbors on_device(CudaContext& ctx, const Csr& graph, const Draw& draw, const SampleOptions& options) {
  const auto n = static_cast<std::int64_t>(draw.nodes.size());
  const DeviceCsr there = csr_upload(ctx.memory(), graph);
  const Staged<std::int32_t> nodes(ctx, 1, n, draw.nodes), exclude(ctx, 1, n, draw.exclude), ptr(ctx, 1, n + 1),
      items(ctx, 1, n * options.fanout);
  const Staged<std::int64_t> ids(ctx, 1, n, draw.ids);
  csr_sample(ctx, ptr, items, there, nodes, ids, exclude, options);
  ctx.synchronize();
  SampledNeighbors out{ptr.values(), items.values()};
  const auto used = static_cast<std::size_t>(out.ptr.back());
  for (std::size_t i = used; i < out.items.size(); ++i)
    EXPECT_EQ(out.items[i], std::numeric_limits<std::int32_t>::min()) << "past the end";
  out.items.resize(used);
  return out;
}

template <class B>
class CsrCuda : public testing::Test {};
TYPED_TEST_SUITE(CsrCuda, testing::Types<test::CudaFloat>, test::BackendNames);

TYPED_TEST(CsrCuda, SamplesHaveTheBitsOfTheCpu) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Csr graph = staircase(90);
  for (const std::int64_t n : {1, 31, 63, 64, 65, 255, 256, 257, 769, 3000}) {
    const Draw draw = big_draw(graph, n);
    for (const std::int32_t fanout : {1, 2, 7, 8, 31, 33, 64}) {
      const SampleOptions options{.fanout = fanout, .key = {.seed = 5, .step = 3, .stream = 2}};
      const auto expected = on_cpu(graph, draw, options), actual = on_device(ctx, graph, draw, options);
      EXPECT_EQ(actual.ptr, expected.ptr) << n << " nodes, fanout " << fanout;
      EXPECT_EQ(actual.items, expected.items) << n << " nodes, fanout " << fanout;
    }
  }
}

// More groups of 256 nodes than one pass of the scan takes.
TYPED_TEST(CsrCuda, ManyNodes) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Csr graph = staircase(20);
  const Draw draw = big_draw(graph, 1024 * 256 + 300);
  const SampleOptions options{.fanout = 2, .key = {.seed = 1}};
  const auto expected = on_cpu(graph, draw, options), actual = on_device(ctx, graph, draw, options);
  EXPECT_TRUE(actual.ptr == expected.ptr);
  EXPECT_TRUE(actual.items == expected.items);
}

TYPED_TEST(CsrCuda, BitsDoNotDependOnOrders) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const Csr graph = staircase(90);
  const Draw draw = big_draw(graph, 769);
  const SampleOptions options{.fanout = 8, .key = {.seed = 5}};
  const auto expected = on_cpu(graph, draw, options);
  test::for_each_schedule([&](const std::string& what) {
    const auto actual = on_device(ctx, graph, draw, options);
    EXPECT_EQ(actual.ptr, expected.ptr) << what;
    EXPECT_EQ(actual.items, expected.items) << what;
  });
}

TYPED_TEST(CsrCuda, NothingToSample) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const DeviceCsr graph = csr_upload(ctx.memory(), staircase(10));
  EXPECT_EQ(graph.rows, 10);
  EXPECT_EQ(graph.cols, 30);
  const Staged<std::int32_t> ptr(ctx, 1, 1);
  csr_sample(ctx, ptr, {}, graph, {}, {}, {}, {});
  EXPECT_EQ(ptr.values(), std::vector<std::int32_t>{0});
}

TYPED_TEST(CsrCuda, NodesOutOfRangeAreReported) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const DeviceCsr graph = csr_upload(ctx.memory(), staircase(10));
  for (const std::int32_t bad : {-1, 10}) {
    const Staged<std::int32_t> nodes(ctx, 1, 3, std::vector<std::int32_t>{2, bad, 1}),
        exclude(ctx, 1, 3, std::vector<std::int32_t>{-1, -1, -1}), ptr(ctx, 1, 4), items(ctx, 1, 24);
    const Staged<std::int64_t> ids(ctx, 1, 3, std::vector<std::int64_t>{0, 1, 2});
    csr_sample(ctx, ptr, items, graph, nodes, ids, exclude, {});
    EXPECT_THROW(ctx.synchronize(), CheckError);
    EXPECT_EQ(ptr.values(), (std::vector<std::int32_t>{0, 2, 2, 3}));
  }
}

TYPED_TEST(CsrCuda, RefusesBadArguments) {
  GALREC_REQUIRE_BACKEND(TypeParam, ctx);
  const DeviceCsr graph = csr_upload(ctx.memory(), staircase(10));
  const Staged<std::int32_t> one(ctx, 1, 1, std::vector<std::int32_t>{3}), two(ctx, 1, 2), many(ctx, 1, 64);
  const Staged<std::int64_t> id(ctx, 1, 1, std::vector<std::int64_t>{0});
  EXPECT_NO_THROW(csr_sample(ctx, two, many, graph, one, id, one, {.fanout = 64}));
  EXPECT_THROW(csr_sample(ctx, two, many, graph, one, id, one, {.fanout = 0}), CheckError);
  EXPECT_THROW(csr_sample(ctx, two, many, graph, one, id, one, {.fanout = 65}), CheckError);
  EXPECT_THROW(csr_sample(ctx, one, many, graph, one, id, one, {}), CheckError);
  EXPECT_THROW(csr_sample(ctx, two, two, graph, one, id, one, {}), CheckError);
  EXPECT_THROW(csr_sample(ctx, two, many, graph, one, id, two, {}), CheckError);
}

}  // namespace
}  // namespace galrec

#endif
