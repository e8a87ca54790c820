// Two hops of neighbours on a device (goal G11): 15 items of each of 8,192 users, 10 users of each item. The second hop
// starts from as many items as the first may draw, as a step without host synchronisation must. Floor: a 32-byte sector
// an edge.
#include <numeric>

#include "bench/kernels/random_graph.h"
#include "bench/support/device_bench.h"
#include "kernels/csr/csr.h"

namespace {

using namespace galrec;

constexpr std::int32_t kFirst = 15, kSecond = 10;

struct Shape {
  std::int64_t n;
  std::string text() const { return "N:" + std::to_string(n) + ",F:15x10"; }
};

struct Graphs {
  Csr items_of, users_of;
  explicit Graphs(const Shape& s) {
    CpuContext ctx(1);
    auto e = bench::beauty_like_edges(s.n > 1000 ? 131413 : 3000);
    if (s.n <= 1000) {
      for (auto& u : e.user) u %= 200;
      for (auto& i : e.item) i %= 150;
      e.users = 200, e.items = 150;
    }
    items_of = csr_build(ctx, e.users, e.items, view_of(e.user), view_of(e.item), DuplicateEdges::kMerge);
    users_of = csr_transpose(ctx, items_of);
  }
};

/// One hop on the device.
struct Hop {
  Buffer<std::int32_t> ptr, items, exclude;
  Buffer<std::int64_t> draws;
  std::int32_t fanout;
  Hop(CudaContext& ctx, std::int64_t n, std::int32_t f)
      : ptr(n + 1, ctx.memory()), items(Buffer<std::int32_t>::zeros(n * f, ctx.memory())), fanout(f) {
    std::vector<std::int32_t> none(static_cast<std::size_t>(n), -1);
    std::vector<std::int64_t> ids(static_cast<std::size_t>(n));
    std::iota(ids.begin(), ids.end(), 0);
    exclude = Buffer<std::int32_t>(std::span<const std::int32_t>(none), ctx.memory());
    draws = Buffer<std::int64_t>(std::span<const std::int64_t>(ids), ctx.memory());
  }
  void run(CudaContext& ctx, const DeviceCsr& graph, View<const std::int32_t, 1> nodes, std::uint64_t stream) {
    csr_sample(ctx, ptr.view(), items.view(), graph, nodes, draws.view(), exclude.view(),
               {.fanout = fanout, .key = {.seed = 3, .step = 0, .stream = static_cast<std::uint32_t>(stream)}});
  }
};

struct TwoHops {
  DeviceCsr items_of, users_of;
  Buffer<std::int32_t> nodes;
  Hop first, second;
  TwoHops(CudaContext& ctx, const Shape& s, const Graphs& g)
      : items_of(csr_upload(ctx.memory(), g.items_of)),
        users_of(csr_upload(ctx.memory(), g.users_of)),
        first(ctx, s.n, kFirst),
        second(ctx, s.n * kFirst, kSecond) {
    std::vector<std::int32_t> users(static_cast<std::size_t>(s.n));
    for (std::size_t i = 0; i < users.size(); ++i)
      users[i] = static_cast<std::int32_t>(i * 7919 % static_cast<std::size_t>(g.items_of.rows));
    nodes = Buffer<std::int32_t>(std::span<const std::int32_t>(users), ctx.memory());
  }
  void run(CudaContext& ctx) {
    first.run(ctx, items_of, nodes.view(), 1);
    second.run(ctx, users_of, first.items.view(), 2);
  }
};

std::vector<std::int32_t> downloaded(CudaContext& ctx, const Buffer<std::int32_t>& b) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(b.size()));
  ctx.memory().download(out.data(), b.data(), out.size() * sizeof(std::int32_t));
  return out;
}

/// The first hop has the bits of the CPU's.
bool same_as_cpu(CudaContext& ctx, TwoHops& ours, const Graphs& g, const Shape& s) {
  CpuContext cpu;
  const auto nodes = downloaded(ctx, ours.nodes);
  std::vector<std::int64_t> draws(static_cast<std::size_t>(s.n));
  std::iota(draws.begin(), draws.end(), 0);
  const std::vector<std::int32_t> none(static_cast<std::size_t>(s.n), -1);
  SampledNeighbors expected;
  csr_sample(cpu, expected, g.items_of, view_of(nodes), view_of(draws), view_of(none),
             {.fanout = kFirst, .key = {.seed = 3, .step = 0, .stream = 1}});
  auto items = downloaded(ctx, ours.first.items);
  items.resize(expected.items.size());
  return downloaded(ctx, ours.first.ptr) == expected.ptr && items == expected.items;
}

bench::DeviceCase prepare(CudaContext& ctx, const Shape& s) {
  const Graphs g(s);
  bench::DeviceCase out{.copies = {}, .floor = {}, .operand_bytes = 0, .fault = ""};
  int copies = 1;
  for (int i = 0; i < copies; ++i) {
    auto copy = std::make_shared<TwoHops>(ctx, s, g);
    copy->run(ctx);
    ctx.synchronize();
    if (i == 0) {
      if (!same_as_cpu(ctx, *copy, g, s)) out.fault = "other neighbours than the CPU's";
      const double edges = downloaded(ctx, copy->first.ptr).back() + downloaded(ctx, copy->second.ptr).back();
      out.floor.bytes = 32 * edges;
      out.operand_bytes = s.n * kFirst * (1 + kSecond) * 4 + s.n * kFirst * 16;
      copies = bench::copies_past_cache(out.operand_bytes);
    }
    out.copies.push_back([copy, &ctx] { copy->run(ctx); });
  }
  return out;
}

const bool registered = [] {
  const Shape shape{bench::device_is_emulated() ? 24 : 8192};
  bench::add_device_case("sample_two_hops/forward/int32/" + shape.text(),
                         [shape](CudaContext& ctx) { return prepare(ctx, shape); });
  return true;
}();

}  // namespace
