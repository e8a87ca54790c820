// LightGCN's three layers on a graph of Beauty's size, forward and backward, on a device (goal G13). The matrix is
// symmetric, so the backward pass is the forward pass on the gradient: six propagations with a running sum. Floor:
// 34,464 x 64 in fp32 lie in the cache, so it counts x, y, total and the graph once a propagation.
#include "bench/kernels/random_graph.h"
#include "bench/support/device_bench.h"
#include "kernels/spmm/spmm.h"

namespace {

using namespace galrec;

struct Graph {
  std::vector<std::int32_t> row_ptr{0}, col_idx;
  explicit Graph(const bench::BipartiteEdges& e) {
    std::vector<std::vector<std::int32_t>> rows(static_cast<std::size_t>(e.users + e.items));
    for (std::size_t i = 0; i < e.user.size(); ++i) {
      rows[static_cast<std::size_t>(e.user[i])].push_back(e.users + e.item[i]);
      rows[static_cast<std::size_t>(e.users + e.item[i])].push_back(e.user[i]);
    }
    for (auto& row : rows) {
      std::sort(row.begin(), row.end());
      col_idx.insert(col_idx.end(), row.begin(), row.end());
      row_ptr.push_back(static_cast<std::int32_t>(col_idx.size()));
    }
  }
};

struct Shape {
  std::int64_t edges, c;
  std::string text() const { return "edges:" + std::to_string(edges) + ",C:" + std::to_string(c); }
  bench::BipartiteEdges graph() const {
    if (edges > 1000) return bench::beauty_like_edges(edges);
    bench::BipartiteEdges e;
    e.users = 40, e.items = 30;
    for (std::int64_t i = 0; i < edges; ++i) {
      e.user.push_back(static_cast<std::int32_t>(i * 7 % e.users));
      e.item.push_back(static_cast<std::int32_t>(i * i % e.items));
    }
    return e;
  }
  template <class T>
  bench::Floor floor() const {
    const auto e = graph();
    const double nodes = e.users + e.items;
    return {.bytes = 6 * (nodes * static_cast<double>(c) * 4 * 4 + 8 * static_cast<double>(edges)),
            .tensor_cores = false};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s) : ctx_(m.context()) {
    const Graph g(s.graph());
    const auto nodes = static_cast<std::int64_t>(g.row_ptr.size()) - 1;
    std::vector<Acc<T>> scale;
    for (std::int64_t r = 0; r < nodes; ++r) {
      const auto degree =
          std::max(1, g.row_ptr[static_cast<std::size_t>(r) + 1] - g.row_ptr[static_cast<std::size_t>(r)]);
      scale.push_back(static_cast<Acc<T>>(1 / std::sqrt(static_cast<double>(degree))));
    }
    row_ptr_ = m.keep(g.row_ptr), col_idx_ = m.keep(g.col_idx), scale_ = m.keep(scale);
    for (Pass& p : passes_) {
      p.x = m.template in<T>(nodes, s.c);
      for (auto& y : p.y) y = m.template out<T>(nodes, s.c);
      p.total = m.template out<Acc<T>>(nodes, s.c);
    }
  }
  void run() {
    for (const Pass& p : passes_) {
      for (int layer = 0; layer < 3; ++layer) {
        spmm<T>(ctx_, p.y[layer], p.total, {row_ptr_, col_idx_}, layer == 0 ? p.x : p.y[layer - 1], scale_, scale_,
                Accumulate::kOverwrite);
      }
    }
  }

 private:
  struct Pass {
    View<T, 2> x, y[3];
    View<Acc<T>, 2> total;
  };
  Context& ctx_;
  View<std::int32_t, 1> row_ptr_, col_idx_;
  View<Acc<T>, 1> scale_;
  Pass passes_[2];  // embeddings, gradient
};

const bool registered = [] {
  bench::add_device<Problem, float>("lightgcn_3/both", Shape{131413, 64}, Shape{200, 64});
  return true;
}();

}  // namespace
