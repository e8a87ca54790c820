// meter_ladders: what every rung of the teaching ladders moves and multiplies (docs/kernel_tour.md). Part of builds that watch
// every access.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "bench/ladders/ladder_meter.h"
#include "data/atomic_file.h"

namespace {

using namespace galrec;

constexpr const char* kHeader = R"(# The rungs of the teaching ladders, counted by the executor

`meter_ladders{}` in a build of preset `race`. [docs/kernel_tour.md](../../docs/kernel_tour.md) walks the rungs.

- Floor: the least bytes and FLOPs of the contract. Traffic: bytes of different 32-byte sectors per launch, over the floor.
- Requested: bytes of all requested sectors, over the floor; a GPU's L1, which would serve part of them, is not in this account.
  Used: share of those that lanes asked for. Requests: loads and stores of a warp.
- Shared passes: over the banks of shared memory, ldmatrix included. Ways: passes per pass without conflicts.
- mma: FLOPs of the tensor cores over the contract's.
- Slowest: the resource that takes longest on an H100 by the model of docs/performance.md, and its time; then with the launches. A
  lower bound, which sees neither latency nor how few blocks there are, and has not been confronted with a GPU.

)";

void run(const std::string& only, const std::string& write) {
  CudaContext ctx;
  std::string out =
      fmt::format(fmt::runtime(kHeader), (only.empty() ? "" : " --only " + only) + (write.empty() ? "" : " --write " + write));
  bool first = true;
  for (const auto& ladder : bench::ladder_workloads(ctx)) {
    if (!only.empty() && ladder.operation != only) continue;
    out += (first ? "" : "\n") + bench::ladder_markdown(ladder, bench::meter_ladder(ctx, ladder));
    first = false;
  }
  fmt::print("{}", out);
  if (!write.empty()) data::write_file(write, out);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Meters the teaching ladders of gemm, attention, rms_norm and info_nce.");
  std::string only, write;
  app.add_option("--only", only, "one operation")->check(CLI::IsMember({"gemm", "attention", "rms_norm", "info_nce"}));
  app.add_option("--write", write, "write the table to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    run(only, write);
  } catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return e.exit_code();
  }
  return 0;
}
