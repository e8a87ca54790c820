// Mean pooling of packed prompts (about 40 tokens each) and L2 normalisation of the pooled rows.
#include "bench/support/operands.h"
#include "kernels/pooling/pooling.h"

namespace {

using namespace galrec;

const bool registered = [] {
  for (const auto& [segments, cols] : std::vector<bench::Shape>{{48, 128}, {384, 256}}) {
    std::vector<std::int32_t> cu = {0};
    for (std::int64_t s = 0; s < segments; ++s) cu.push_back(cu.back() + 25 + static_cast<std::int32_t>(s * 7 % 31));
    const std::int64_t rows = cu.back(), n = rows * cols;
    const std::string shape = "/" + std::to_string(segments) + "of" + std::to_string(rows) + "x" + std::to_string(cols);
    const bench::Shape tokens{rows, cols}, pooled{segments, cols};
    bench::add("segment_mean_forward" + shape, {pooled, tokens}, 4 * (n + segments * cols), n,
               [cu](CpuContext& ctx, auto& o) {
                 segment_mean_forward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), view_of(cu));
               });
    bench::add("segment_mean_backward" + shape, {tokens, pooled}, 4 * (n + segments * cols), n,
               [cu](CpuContext& ctx, auto& o) {
                 segment_mean_backward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), view_of(cu),
                                                                      Accumulate::kOverwrite);
               });
  }
  for (const auto& [rows, cols] : std::vector<bench::Shape>{{384, 256}, {8192, 256}}) {
    const std::int64_t n = rows * cols;
    const std::string shape = "/" + std::to_string(rows) + "x" + std::to_string(cols);
    const bench::Shape matrix{rows, cols}, column{1, rows};
    bench::add("l2_normalize_forward" + shape, {matrix, column, matrix}, 8 * n, n, [](CpuContext& ctx, auto& o) {
      l2_normalize_forward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.vector(1), o.matrix(2));
    });
    bench::add("l2_normalize_backward" + shape, {matrix, matrix, matrix, column}, 12 * n, n,
               [](CpuContext& ctx, auto& o) {
                 l2_normalize_backward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), o.matrix(2),
                                                                      o.vector(3), Accumulate::kOverwrite);
               });
  }
  return true;
}();

}  // namespace
