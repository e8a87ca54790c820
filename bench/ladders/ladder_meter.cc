#include "bench/ladders/ladder_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/simt/instrument/instrument.h"

namespace galrec::bench {

namespace {

using apps::MeteredWorkload;

/// What the model says of one resource alone.
struct Share {
  const char* name;
  double seconds;
};

Share slowest(const MeteredWorkload& c) {
  MeteredWorkload dram, l2, shared, mma, fma, exps;
  dram.load_unique = c.load_unique;
  dram.store_unique = c.store_unique;
  l2.load_requested = c.load_requested;
  l2.store_requested = c.store_requested;
  shared.matrix_passes = c.matrix_passes;
  shared.shared_passes = c.shared_passes;
  mma.mma_flops = c.mma_flops;
  fma.workload.fma_flops = c.workload.fma_flops;
  exps.workload.exps = c.workload.exps;
  const Share all[] = {{"DRAM", apps::predicted_seconds(dram)},
                       {"L2", apps::predicted_seconds(l2)},
                       {"shared memory", apps::predicted_seconds(shared)},
                       {"tensor cores", apps::predicted_seconds(mma)},
                       {"fp32 units", apps::predicted_seconds(fma)},
                       {"exponentials", apps::predicted_seconds(exps)}};
  return *std::max_element(std::begin(all), std::end(all), [](const Share& a, const Share& b) { return a.seconds < b.seconds; });
}

MeteredRung meter_rung(CudaContext& ctx, const LadderWorkload& ladder, const LadderRung& rung) {
  simt::clear_metered_kernels();
  rung.run(ctx);
  ctx.synchronize();
  MeteredRung out;
  MeteredWorkload& m = out.counts;
  m.workload.name = rung.name;
  m.workload.shape = ladder.shape;
  m.workload.load_bytes = ladder.load_bytes;
  m.workload.store_bytes = ladder.store_bytes;
  (rung.units == ladder::Units::kOrdinary ? m.workload.fma_flops : m.workload.mma_flops) = ladder.flops;
  m.workload.exps = ladder.exps;
  for (const auto& [name, k] : simt::metered_kernels()) {
    out.blocks += static_cast<double>(k.blocks);
    apps::add_kernel(m, k);
  }
  return out;
}

std::string optional(double there, double value) {
  return there > 0 ? fmt::format("{:.2f}", value) : std::string();
}

}  // namespace

std::vector<MeteredRung> meter_ladder(CudaContext& ctx, const LadderWorkload& ladder) {
  simt::set_watch(simt::Watch::kTraffic);
  std::vector<MeteredRung> out;
  for (const LadderRung& rung : ladder.rungs) {
    out.push_back(meter_rung(ctx, ladder, rung));
    fmt::print(stderr, "{}: {}\n", ladder.operation, rung.name);
  }
  return out;
}

std::string ladder_markdown(const LadderWorkload& ladder, const std::vector<MeteredRung>& rungs) {
  std::string out = fmt::format(
      "## {}\n\n{}. Floor: {:.0f} KB, {:.1f} MFLOPs.\n\n"
      "| rung | launches | blocks | traffic | requested | used | requests, thousands | shared passes, thousands | ldmatrix ways "
      "| other ways | barriers | mma | slowest | its us | with launches |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      ladder.operation, ladder.shape, (ladder.load_bytes + ladder.store_bytes) / 1e3, ladder.flops / 1e6);
  int number = 0;
  for (const auto& [m, blocks] : rungs) {
    const double passes = m.shared_passes + m.matrix_passes;
    const Share worst = slowest(m);
    out += fmt::format(
        "| {} {} | {:.0f} | {:.0f} | {:.2f} | {:.2f} | {:.2f} | {:.1f} | {} | {} | {} | {} | {} | {} | {:.2f} | {:.2f} |\n",
        ++number, m.workload.name, m.launches, blocks, m.traffic(), m.requested() / m.floor(), m.sectors_used(), m.requests / 1e3,
        passes > 0 ? fmt::format("{:.1f}", passes / 1e3) : "", optional(m.matrix_least, m.matrix_ways()),
        optional(m.shared_least, m.conflict_ways()), m.barriers > 0 ? fmt::format("{:.0f}", m.barriers) : "",
        optional(m.mma_flops, m.mma_ratio()), worst.name, worst.seconds * 1e6, apps::predicted_seconds(m) * 1e6);
  }
  return out;
}

}  // namespace galrec::bench
