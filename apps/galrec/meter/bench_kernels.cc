// galrec bench kernels: the CUDA kernels of a GAL step, metered on the executor. Timing on a GPU is bench/kernels'
// (gpu_suite.sh).

#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <sstream>

#include "apps/galrec/commands.h"
#include "apps/galrec/meter/kernel_meter.h"
#include "data/atomic_file.h"
#include "kernels/common/check.h"

namespace galrec::apps {

namespace {

struct Options {
  bool meter = false;
  std::string filter, write, check;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw DataError(fmt::format("{}: cannot be read", path));
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void bench_kernels(const Options& o) {
  if (!o.meter)
    throw UsageError(
        "bench kernels: --meter is what this command offers; times come from build/<preset>/bin/bench_<op>");
  CudaContext ctx;
  const auto metered = meter_kernels(ctx, o.filter, [](const MeteredWorkload& w) {
    fmt::print(stderr, "{:6.1f} s  {}\n", w.seconds, w.workload.name);
  });
  std::string command = "galrec bench kernels --meter";
  if (!o.filter.empty()) command += fmt::format(" --filter \"{}\"", o.filter);
  if (!o.write.empty()) command += " --write " + o.write;
  const std::string table = meter_markdown(metered, command);
  if (o.check.empty()) fmt::print("{}", table);
  if (!o.write.empty()) {
    data::write_file(o.write + ".md", table);
    data::write_file(o.write + ".json", meter_json(metered));
  }
  if (o.check.empty()) return;
  const auto worse =
      meter_regressions(metered, read_file(o.check), o.check, o.filter.empty() ? Extent::kAll : Extent::kFiltered);
  for (const auto& line : worse) fmt::print(stderr, "worse than {}: {}\n", o.check, line);
  if (!worse.empty())
    throw NumericalError(
        fmt::format("{} figures got worse; if that is meant, write the table anew with --write", worse.size()));
}

}  // namespace

void add_bench_kernels(CLI::App& bench) {
  auto o = std::make_shared<Options>();
  auto* c = bench.add_subcommand("kernels",
                                 "The CUDA kernels of a GAL step at flan-t5-base widths: memory traffic, bank "
                                 "conflicts and FLOPs against each contract's floor");
  c->add_flag("--meter", o->meter, "count on the executor (preset race)");
  c->add_option("--filter", o->filter, "only workloads whose name contains this");
  c->add_option("--write", o->write, "write PREFIX.md and PREFIX.json");
  c->add_option("--check", o->check, "exit 4 where a figure is worse than in this .json");
  c->footer("Example:\n  build/race/bin/galrec bench kernels --meter --check bench/results/meter.json");
  c->callback([o] { bench_kernels(*o); });
}

}  // namespace galrec::apps
