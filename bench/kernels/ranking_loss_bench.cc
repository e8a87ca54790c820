// BPR at LightGCN's batch on Beauty (2048 x 64), BCE at SASRec's (all positions), and the L2 penalty.
#include "bench/support/operands.h"
#include "kernels/ranking_loss/ranking_loss.h"

namespace {

using namespace galrec;

const bool registered = [] {
  for (const auto& [rows, cols] : std::vector<bench::Shape>{{2048, 64}, {12800, 64}}) {
    const std::int64_t n = rows * cols;
    const bench::Shape matrix{rows, cols}, column{1, rows}, scalar{1, 1};
    for (const auto kind : {RankingLossKind::kBpr, RankingLossKind::kBce}) {
      const std::string name = kind == RankingLossKind::kBpr ? "bpr" : "bce";
      const std::string shape = "/" + std::to_string(rows) + "x" + std::to_string(cols);
      bench::add(name + "_forward" + shape, {scalar, column, column, matrix, matrix, matrix}, 12 * n, n,
                 [kind](CpuContext& ctx, auto& o) {
                   ranking_loss_forward<bench::ElementOf<decltype(o)>>(ctx, o.vector(0), o.vector(1), o.vector(2),
                                                                       o.matrix(3), o.matrix(4), o.matrix(5), kind);
                 });
      bench::add(name + "_backward" + shape, {matrix, matrix, matrix, matrix, matrix, matrix, column, column, scalar}, 24 * n,
                 n, [kind](CpuContext& ctx, auto& o) {
                   ranking_loss_backward<bench::ElementOf<decltype(o)>>(
                       ctx, o.matrix(0), o.matrix(1), o.matrix(2), o.vector(8), o.matrix(3), o.matrix(4), o.matrix(5),
                       o.vector(6), o.vector(7), kind, Accumulate::kOverwrite);
                 });
    }
    bench::add("half_squared_sum/" + std::to_string(rows) + "x" + std::to_string(cols), {scalar, matrix}, 4 * n, n,
               [](CpuContext& ctx, auto& o) {
                 half_squared_sum<bench::ElementOf<decltype(o)>>(ctx, o.vector(0), o.matrix(1));
               });
  }
  return true;
}();

}  // namespace
