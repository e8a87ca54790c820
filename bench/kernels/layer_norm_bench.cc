// LayerNorm at the shapes of SASRec on Beauty (d 64) and of wider encoders.
#include "bench/support/operands.h"
#include "kernels/layer_norm/layer_norm.h"

namespace {

using namespace galrec;

const bool registered = [] {
  for (const auto& [rows, cols] : std::vector<bench::Shape>{{12800, 64}, {8192, 256}}) {
    const std::int64_t n = rows * cols;
    const std::string shape = "/" + std::to_string(rows) + "x" + std::to_string(cols);
    const bench::Shape matrix{rows, cols}, row{1, cols}, column{1, rows};
    for (double rate : {0.0, 0.1}) {
      const std::string form = std::string("_residual") + (rate > 0 ? "_dropout" : "") + shape;
      const LayerNormOptions options{.dropout = {.rate = rate, .key = {.seed = 1}}};
      bench::add("layer_norm_forward" + form, {matrix, matrix, column, column, matrix, matrix, row, row}, 16 * n, n,
                 [options](CpuContext& ctx, auto& o) {
                   using T = bench::ElementOf<decltype(o)>;
                   layer_norm_forward<T>(ctx, o.matrix(0), o.matrix(1), o.vector(2), o.vector(3), o.matrix(4),
                                         o.matrix(5), o.vector(6), o.vector(7), options);
                 });
      // dx, dresidual, dy, sum, weight, mean, rstd, dweight, dbias
      bench::add("layer_norm_backward" + form, {matrix, matrix, matrix, matrix, row, column, column, row, row}, 16 * n,
                 n, [options](CpuContext& ctx, auto& o) {
                   using T = bench::ElementOf<decltype(o)>;
                   constexpr auto kSet = Accumulate::kOverwrite;
                   layer_norm_backward<T>(ctx, o.matrix(0), o.matrix(1), o.vector(7), o.vector(8), o.matrix(2), {},
                                          o.matrix(3), o.vector(4), o.vector(5), o.vector(6), options, kSet, kSet,
                                          kSet);
                 });
    }
  }
  return true;
}();

}  // namespace
