#include "apps/galrec/meter/kernel_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/common/check.h"
#include "kernels/simt/instrument/instrument.h"

namespace galrec::apps {

namespace {

// Of an H100 SXM (docs/performance.md): copies from DRAM, reads of L2, dense bf16 products, ordinary fp32 products,
// exponentials; shared memory serves one pass per clock and SM.
constexpr double kDram = 3.0e12, kL2 = 5.5e12, kMma = 798e12, kFma = 60e12, kExp = 3.7e12,
                 kSharedPasses = 132 * 1.755e9, kLaunch = 2.5e-6;

constexpr double kWorse = 1.02;

/// What is required of a production kernel: at most, and at least of the sectors' use.
constexpr double kMostTraffic = 1.15, kLeastUse = 0.9, kMostMatrixWays = 1.0, kMostWays = 1.1, kMostMma = 1.1;

/// The figures that are compared, by name.
std::map<std::string, double> figures(const MeteredWorkload& w) {
  return {{"loaded", w.load_unique},          {"stored", w.store_unique},
          {"requested", w.requested()},       {"ldmatrix passes", w.matrix_passes},
          {"shared passes", w.shared_passes}, {"barriers", w.barriers},
          {"launches", w.launches},           {"mma FLOPs", w.mma_flops}};
}

/// A figure with its limit, as the table rounds it.
struct Requirement {
  const char* name;
  double value, limit;
  bool misses() const { return std::string_view(name) == "used" ? value < limit - 0.005 : value >= limit + 0.005; }
};

std::vector<Requirement> requirements(const MeteredWorkload& w) {
  return {{"traffic", w.traffic(), kMostTraffic},
          {"used", w.sectors_used(), kLeastUse},
          {"ldmatrix ways", w.matrix_ways(), kMostMatrixWays},
          {"other ways", w.conflict_ways(), kMostWays},
          {"mma FLOPs", w.mma_ratio(), kMostMma}};
}

/// "1.07", bold where it misses its limit.
std::string shown(const Requirement& r, double applies) {
  if (applies <= 0) return "";
  return r.misses() ? fmt::format("**{:.2f}**", r.value) : fmt::format("{:.2f}", r.value);
}

/// A kernel without namespaces and parameters.
std::string short_name(std::string name) {
  for (const std::string_view gone : {"void ", "(anonymous namespace)::", "galrec::"}) {
    for (std::size_t at; (at = name.find(gone)) != std::string::npos;) name.erase(at, gone.size());
  }
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

std::string ways(const simt::SharedTraffic& a, const simt::SharedTraffic& b) {
  const auto least = static_cast<double>(a.least_passes + b.least_passes);
  return least > 0 ? fmt::format("{:.2f}", static_cast<double>(a.passes + b.passes) / least) : "";
}

}  // namespace

void add_kernel(MeteredWorkload& m, const simt::KernelTraffic& k) {
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
  m.kernels.push_back(k);
}

std::vector<MeteredWorkload> meter_kernels(CudaContext& ctx, const std::string& filter,
                                           const std::function<void(const MeteredWorkload&)>& done) {
  std::vector<MeteredWorkload> out;
  simt::set_watch(simt::Watch::kTraffic);
  for (const KernelWorkload& w : kernel_workloads(ctx)) {
    if (w.name.find(filter) == std::string::npos) continue;
    simt::clear_metered_kernels();
    const auto begin = std::chrono::steady_clock::now();
    w.run(ctx);
    ctx.synchronize();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    MeteredWorkload m;
    m.workload = w;
    m.seconds = took.count();
    for (const auto& [name, k] : simt::metered_kernels()) add_kernel(m, k);
    if (done) done(m);
    out.push_back(std::move(m));
  }
  return out;
}

double predicted_seconds(const MeteredWorkload& w) {
  const double slowest = std::max({(w.load_unique + w.store_unique) / kDram, w.requested() / kL2,
                                   (w.matrix_passes + w.shared_passes) / kSharedPasses, w.mma_flops / kMma,
                                   w.workload.fma_flops / kFma, w.workload.exps / kExp});
  return slowest + w.launches * kLaunch;
}

std::string meter_markdown(const std::vector<MeteredWorkload>& workloads, const std::string& command) {
  std::string out = fmt::format(
      R"(# What the kernels move, counted by the executor

`{}` in a build of preset `race`.

- Floor: the least bytes of the contract, each input read once, each output written once. Loaded, stored: bytes of different 32-byte
  sectors per launch. Traffic: their sum over the floor, at most {:.2f}.
- Requested: bytes of all requested sectors (what L2 serves) over the floor. Used: share of requested sectors that lanes
  asked for, at least {:.2f}. A request: sectors per load or store of a warp.
- Ways: passes over the banks of shared memory per pass without conflicts, by ldmatrix (none) and by other accesses (at
  most {:.2f}).
- mma: FLOPs of the tensor cores over the contract's, at most {:.2f}.
- Predicted: the model of an H100 in docs/performance.md, to be confronted with one.

**Bold**: more than that; the remark says why.

)"
      "| workload | shape | floor KB | loaded KB | stored KB | traffic | requested | used | a request | ldmatrix ways "
      "| "
      "other ways | barriers | mma | launches | predicted us | remark "
      "|\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      command, kMostTraffic, kLeastUse, kMostWays, kMostMma);
  for (const auto& w : workloads) {
    const auto r = requirements(w);
    out += fmt::format(
        "| {} | {} | {:.0f} | {:.0f} | {:.0f} | {} | {:.2f} | {} | {:.1f} | {} | {} | {:.0f} | {} | {:.0f} | {:.1f} | "
        "{} |\n",
        w.workload.name, w.workload.shape, w.floor() / 1e3, w.load_unique / 1e3, w.store_unique / 1e3, shown(r[0], 1),
        w.requested() / w.floor(), shown(r[1], 1), w.requested() / 32 / w.requests, shown(r[2], w.matrix_least),
        shown(r[3], w.shared_least), w.barriers, shown(r[4], w.workload.mma_flops), w.launches,
        predicted_seconds(w) * 1e6, w.workload.remark);
  }
  out +=
      "\n## Kernel by kernel\n\n| workload | kernel | launches | blocks | shared KB | loaded KB | stored KB | "
      "requested KB | used | ldmatrix "
      "ways | other ways | barriers | mma MFLOPs |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const auto& w : workloads) {
    for (const auto& k : w.kernels) {
      const auto sectors = static_cast<double>(k.load.sectors + k.store.sectors);
      out += fmt::format(
          "| {} | `{}` | {} | {} | {:.1f} | {:.0f} | {:.0f} | {:.0f} | {:.2f} | {} | {} | {} | {:.1f} |\n",
          w.workload.name, short_name(k.name), k.launches, k.blocks, static_cast<double>(k.shared_bytes) / 1e3,
          static_cast<double>(k.load.unique_sectors) * 0.032, static_cast<double>(k.store.unique_sectors) * 0.032,
          sectors * 0.032, static_cast<double>(k.load.used_bytes + k.store.used_bytes) / std::max(1.0, sectors * 32),
          ways(k.ldmatrix, {}), ways(k.shared_load, k.shared_store), k.barriers,
          static_cast<double>(k.mma_flops) / 1e6);
    }
  }
  return out;
}

std::string meter_json(const std::vector<MeteredWorkload>& workloads) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& w : workloads) {
    for (const auto& [name, value] : figures(w)) out[w.workload.name][name] = value;
  }
  return out.dump(1) + "\n";
}

std::vector<std::string> meter_regressions(const std::vector<MeteredWorkload>& now, const std::string& earlier_json,
                                           const std::string& file, Extent extent) {
  const auto earlier = nlohmann::json::parse(earlier_json, nullptr, false);
  if (!earlier.is_object())
    throw DataError(fmt::format("{}: got no JSON object, expected what `galrec bench kernels --meter` wrote", file));
  std::vector<std::string> worse;
  for (const auto& w : now) {
    const std::string& name = w.workload.name;
    for (const Requirement& r : requirements(w)) {
      if (r.misses() && w.workload.remark.empty())
        worse.push_back(fmt::format("{}: {} {:.3f}, required is {:.2f}", name, r.name, r.value, r.limit));
    }
    if (!earlier.contains(name)) {
      worse.push_back(fmt::format("{}: not in the file", name));
      continue;
    }
    for (const auto& [figure, value] : figures(w)) {
      const double then = earlier[name].value(figure, -1.0);
      if (then < 0)
        worse.push_back(fmt::format("{}: the file has no {}", name, figure));
      else if (value > then * kWorse + 1)
        worse.push_back(fmt::format("{}: {} rose from {:.0f} to {:.0f}", name, figure, then, value));
    }
  }
  if (extent == Extent::kFiltered) return worse;
  for (const auto& [name, figure] : earlier.items()) {
    const bool measured = std::any_of(now.begin(), now.end(), [&](const auto& w) { return w.workload.name == name; });
    if (!measured) worse.push_back(fmt::format("{}: no longer measured", name));
  }
  return worse;
}

}  // namespace galrec::apps
