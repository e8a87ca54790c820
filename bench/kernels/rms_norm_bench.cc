// RMSNorm at the shapes of a GAL step (tokens x d of nano and mini) and of flan-t5-base.
#include "bench/support/operands.h"
#include "kernels/rms_norm/rms_norm.h"

namespace {

using namespace galrec;

const bool registered = [] {
  for (const auto& [rows, cols] : std::vector<bench::Shape>{{4096, 128}, {8192, 256}, {4096, 768}}) {
    const std::int64_t n = rows * cols;
    const std::string shape = "/" + std::to_string(rows) + "x" + std::to_string(cols);
    const bench::Shape matrix{rows, cols}, row{1, cols}, column{1, rows};
    bench::add("rms_norm_forward" + shape, {matrix, column, matrix, row}, 8 * n, n, [](CpuContext& ctx, auto& o) {
      using T = bench::ElementOf<decltype(o)>;
      rms_norm_forward<T>(ctx, o.matrix(0), {}, o.vector(1), o.matrix(2), {}, o.vector(3), {});
    });
    for (double rate : {0.0, 0.1}) {
      const std::string form = std::string("_residual") + (rate > 0 ? "_dropout" : "") + shape;
      const RmsNormOptions options{.dropout = {.rate = rate, .key = {.seed = 1}}};
      bench::add("rms_norm_forward" + form, {matrix, matrix, column, matrix, matrix, row}, 16 * n, n,
                 [options](CpuContext& ctx, auto& o) {
                   using T = bench::ElementOf<decltype(o)>;
                   rms_norm_forward<T>(ctx, o.matrix(0), o.matrix(1), o.vector(2), o.matrix(3), o.matrix(4),
                                       o.vector(5), options);
                 });
      // dx, dy, dsum = dresidual, sum, weight, rstd, dweight
      bench::add("rms_norm_backward" + form, {matrix, matrix, matrix, matrix, row, column, row}, 20 * n, n,
                 [options](CpuContext& ctx, auto& o) {
                   using T = bench::ElementOf<decltype(o)>;
                   constexpr auto kSet = Accumulate::kOverwrite;
                   rms_norm_backward<T>(ctx, o.matrix(0), o.matrix(2), o.vector(6), o.matrix(1), o.matrix(2),
                                        o.matrix(3), o.vector(4), o.vector(5), options, kSet, kSet, kSet);
                 });
    }
  }
  return true;
}();

}  // namespace
