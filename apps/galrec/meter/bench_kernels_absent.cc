// galrec bench kernels in builds that do not watch memory accesses: the command is there and says what it needs.

#include "apps/galrec/commands.h"
#include "kernels/common/check.h"

namespace galrec::apps {

void add_bench_kernels(CLI::App& bench) {
  auto* c = bench.add_subcommand(
      "kernels", "The CUDA kernels of a GAL step against each contract's floor (needs a build of preset race)");
  c->allow_extras();
  c->footer("Example:\n  build/race/bin/galrec bench kernels --meter --check bench/results/meter.json");
  c->callback([] {
    throw UsageError(
        "bench kernels: this build does not watch memory accesses; cmake --preset race && cmake --build --preset race "
        "--target galrec, then "
        "build/race/bin/galrec bench kernels --meter");
  });
}

}  // namespace galrec::apps
