// Activations at the feed-forward shapes of nano and mini; the gate reads the two halves of one product.
#include "bench/support/operands.h"
#include "kernels/activation/activation.h"

namespace {

using namespace galrec;

const bool registered = [] {
  const std::pair<const char*, ActivationKind> kinds[] = {{"relu", ActivationKind::kRelu},
                                                          {"gelu_tanh", ActivationKind::kGeluTanh},
                                                          {"gelu_erf", ActivationKind::kGeluErf}};
  constexpr auto kSet = Accumulate::kOverwrite;
  for (const auto& [rows, cols] : std::vector<bench::Shape>{{4096, 256}, {8192, 512}}) {
    const std::int64_t n = rows * cols, half = cols;
    const bench::Shape matrix{rows, cols}, both{rows, 2 * cols};
    for (double rate : {0.0, 0.1}) {
      const Dropout dropout{.rate = rate, .key = {.seed = 1}};
      const std::string form =
          std::string(rate > 0 ? "_dropout" : "") + "/" + std::to_string(rows) + "x" + std::to_string(cols);
      for (const auto& [name, kind] : kinds) {
        const auto f = kind;
        const std::string prefix = name;
        bench::add(prefix + "_forward" + form, {matrix, matrix}, 8 * n, n, [=](CpuContext& ctx, auto& o) {
          activation_forward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), f, dropout);
        });
        bench::add(prefix + "_backward" + form, {matrix, matrix, matrix}, 12 * n, n, [=](CpuContext& ctx, auto& o) {
          activation_backward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), o.matrix(2), f, dropout,
                                                             kSet);
        });
        if (kind != ActivationKind::kGeluTanh) continue;
        bench::add("gated_" + prefix + "_forward" + form, {matrix, both}, 12 * n, n, [=](CpuContext& ctx, auto& o) {
          const auto ab = o.matrix(1);
          gated_activation_forward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), ab.slice_cols(0, half),
                                                                  ab.slice_cols(half, half), f, dropout);
        });
        bench::add("gated_" + prefix + "_backward" + form, {both, matrix, both}, 20 * n, n,
                   [=](CpuContext& ctx, auto& o) {
                     const auto d = o.matrix(0), ab = o.matrix(2);
                     gated_activation_backward<bench::ElementOf<decltype(o)>>(
                         ctx, d.slice_cols(0, half), d.slice_cols(half, half), o.matrix(1), ab.slice_cols(0, half),
                         ab.slice_cols(half, half), f, dropout, kSet);
                   });
      }
      bench::add("dropout_forward" + form, {matrix, matrix}, 8 * n, n, [=](CpuContext& ctx, auto& o) {
        dropout_forward<bench::ElementOf<decltype(o)>>(ctx, o.matrix(0), o.matrix(1), dropout, kSet);
      });
    }
  }
  return true;
}();

}  // namespace
