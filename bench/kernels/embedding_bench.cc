// Look-up and gradient with the ids of prompts: half of the positions repeat 40 template words, half are spread evenly.
#include "bench/support/operands.h"
#include "kernels/common/philox.h"
#include "kernels/embedding/embedding.h"

namespace {

using namespace galrec;

std::vector<std::int32_t> prompt_ids(std::int64_t n, std::int64_t rows) {
  PhiloxStream stream({.seed = 3});
  std::vector<std::int32_t> ids(n);
  for (auto& id : ids) id = static_cast<std::int32_t>(stream.next_u32() % 2 ? stream.below(40) : stream.below(rows));
  return ids;
}

const bool registered = [] {
  for (const auto& [n, cols] : std::vector<bench::Shape>{{4096, 128}, {16384, 256}}) {
    const std::int64_t rows = 12000;
    const auto ids = prompt_ids(n, rows);
    const std::string shape = "/" + std::to_string(n) + "x" + std::to_string(cols) + "_of_" + std::to_string(rows);
    const bench::Shape matrix{n, cols}, table{rows, cols};
    bench::add("embedding_forward" + shape, {matrix, table}, 8 * n * cols, n * cols, [ids](CpuContext& ctx, auto& o) {
      embedding_forward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), view_of(ids),
                                                       Accumulate::kOverwrite);
    });
    // Read dy, read and write each looked-up row once (here: about half of the positions are rows of their own).
    bench::add("embedding_backward_add" + shape, {table, matrix}, 8 * n * cols, n * cols,
               [ids](CpuContext& ctx, auto& o) {
                 embedding_backward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), view_of(ids),
                                                                   Accumulate::kAdd);
               });
    bench::add("embedding_backward_overwrite" + shape, {table, matrix}, 4 * (n + rows) * cols, n * cols,
               [ids](CpuContext& ctx, auto& o) {
                 embedding_backward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), view_of(ids),
                                                                   Accumulate::kOverwrite);
               });
  }
  return true;
}();

}  // namespace
