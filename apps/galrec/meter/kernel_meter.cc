#include "apps/galrec/meter/kernel_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/galrec/meter/kernel_workloads.h"
#include "kernels/common/check.h"
#include "kernels/simt/instrument/instrument.h"

namespace galrec::apps {

namespace {

// Measured by others on an H100 SXM (docs/performance.md): copies from DRAM, reads of L2, dense bf16 products; shared
// memory serves one pass per clock and SM.
constexpr double kDram = 3.0e12, kL2 = 5.5e12, kMma = 798e12, kSharedPasses = 132 * 1.755e9, kLaunch = 2.5e-6;

constexpr double kWorse = 1.02;

/// The figures that are compared, by name.
std::map<std::string, double> figures(const MeteredWorkload& w) {
  return {{"traffic", w.load_unique + w.store_unique},
          {"requested", w.load_requested + w.store_requested},
          {"ldmatrix passes", w.matrix_passes},
          {"shared passes", w.shared_passes},
          {"barriers", w.barriers},
          {"mma FLOPs", w.mma_flops}};
}

}  // namespace

std::vector<MeteredWorkload> meter_kernels(CudaContext& ctx, const std::string& filter) {
  std::vector<MeteredWorkload> out;
  simt::set_watch(simt::Watch::kTraffic);
  for (const KernelWorkload& w : kernel_workloads(ctx)) {
    if (w.name.find(filter) == std::string::npos) continue;
    simt::clear_metered_kernels();
    w.run(ctx);
    ctx.synchronize();
    MeteredWorkload m{.name = w.name,
                      .shape = w.shape,
                      .remark = w.remark,
                      .load_floor = w.load_bytes,
                      .store_floor = w.store_bytes,
                      .flops_floor = w.mma_flops};
    for (const auto& [name, k] : simt::metered_kernels()) {
      constexpr double kSector = 32;
      m.launches += static_cast<double>(k.launches);
      m.load_unique += kSector * static_cast<double>(k.load.unique_sectors);
      m.store_unique += kSector * static_cast<double>(k.store.unique_sectors);
      m.load_requested += kSector * static_cast<double>(k.load.sectors);
      m.store_requested += kSector * static_cast<double>(k.store.sectors);
      m.used += static_cast<double>(k.load.used_bytes + k.store.used_bytes);
      m.requests += static_cast<double>(k.load.requests + k.store.requests);
      m.matrix_passes += static_cast<double>(k.ldmatrix.passes);
      m.matrix_least += static_cast<double>(k.ldmatrix.least_passes);
      m.shared_passes += static_cast<double>(k.shared_load.passes + k.shared_store.passes);
      m.shared_least += static_cast<double>(k.shared_load.least_passes + k.shared_store.least_passes);
      m.barriers += static_cast<double>(k.barriers);
      m.mma_flops += static_cast<double>(k.mma_flops);
    }
    out.push_back(m);
  }
  return out;
}

double predicted_seconds(const MeteredWorkload& w) {
  const double slowest =
      std::max({(w.load_unique + w.store_unique) / kDram, (w.load_requested + w.store_requested) / kL2,
                (w.matrix_passes + w.shared_passes) / kSharedPasses, w.mma_flops / kMma});
  return slowest + w.launches * kLaunch;
}

std::string meter_markdown(const std::vector<MeteredWorkload>& workloads, const std::string& command) {
  std::string out = fmt::format(
      "# What the kernels move, counted by the executor\n\n`{}` in a build of preset `race`. Floor: the least bytes "
      "and FLOPs of the contract. "
      "Traffic: bytes of different 32-byte sectors per launch, over the floor. Requested: bytes of all requested "
      "sectors (what L2 serves), over the "
      "floor. Used: share of requested sectors that lanes asked for. Ways: passes over the banks of shared memory per "
      "pass without conflicts. "
      "Predicted: docs/performance.md's model of an H100, to be confronted with one.\n\n"
      "| workload | shape | floor KB | traffic | requested | used | sectors a request | ldmatrix ways | other ways | "
      "barriers | mma FLOPs over floor | launches | predicted us | remark |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      command);
  for (const auto& w : workloads) {
    const double floor = w.load_floor + w.store_floor, requested = w.load_requested + w.store_requested;
    out += fmt::format(
        "| {} | {} | {:.0f} | {:.2f} | {:.2f} | {:.2f} | {:.1f} | {} | {} | {:.0f} | {} | {:.0f} | {:.1f} | {} |\n",
        w.name, w.shape, floor / 1e3, w.traffic(), requested / floor, w.sectors_used(), requested / 32 / w.requests,
        w.matrix_least > 0 ? fmt::format("{:.2f}", w.matrix_ways()) : "",
        w.shared_least > 0 ? fmt::format("{:.2f}", w.conflict_ways()) : "", w.barriers,
        w.flops_floor > 0 ? fmt::format("{:.2f}", w.mma_ratio()) : "", w.launches, predicted_seconds(w) * 1e6,
        w.remark);
  }
  return out;
}

std::string meter_json(const std::vector<MeteredWorkload>& workloads) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& w : workloads) {
    for (const auto& [name, value] : figures(w)) out[w.name][name] = value;
  }
  return out.dump(1) + "\n";
}

std::vector<std::string> meter_regressions(const std::vector<MeteredWorkload>& now, const std::string& earlier_json,
                                           const std::string& file) {
  const auto earlier = nlohmann::json::parse(earlier_json, nullptr, false);
  if (!earlier.is_object())
    throw DataError(fmt::format("{}: got no JSON object, expected what `galrec bench kernels --meter` wrote", file));
  std::vector<std::string> worse;
  for (const auto& w : now) {
    if (!earlier.contains(w.name)) continue;
    for (const auto& [name, value] : figures(w)) {
      const auto& then = earlier[w.name].value(name, -1.0);
      if (then >= 0 && value > then * kWorse + 1)
        worse.push_back(fmt::format("{}: {} rose from {:.0f} to {:.0f}", w.name, name, then, value));
    }
  }
  return worse;
}

}  // namespace galrec::apps
