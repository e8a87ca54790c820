#pragma once
// What the executor's traffic meter says of the kernel workloads: a table beside each contract's floor, a predicted
// time on an H100, and the comparison with an earlier table. Part of builds that watch every access (preset `race`).

#include <functional>
#include <string>
#include <vector>

#include "apps/galrec/meter/kernel_workloads.h"
#include "kernels/common/context.h"
#include "kernels/simt/instrument/traffic_meter.h"

namespace galrec::apps {

/// One workload, all its launches together. Bytes and FLOPs.
struct MeteredWorkload {
  KernelWorkload workload;
  double launches = 0;
  double load_unique = 0, store_unique = 0;        // bytes of different sectors: what DRAM must move
  double load_requested = 0, store_requested = 0;  // bytes of all requested sectors: what L2 serves
  double used = 0;                                 // bytes that lanes asked for, of those
  double requests = 0;
  double matrix_passes = 0, matrix_least = 0;  // ldmatrix
  double shared_passes = 0, shared_least = 0;  // other shared memory
  double barriers = 0, mma_flops = 0;
  double seconds = 0;  // that the executor took
  std::vector<simt::KernelTraffic> kernels;

  double floor() const { return workload.load_bytes + workload.store_bytes; }
  double traffic() const { return (load_unique + store_unique) / floor(); }
  double requested() const { return load_requested + store_requested; }
  double sectors_used() const { return used / requested(); }
  double conflict_ways() const { return shared_least > 0 ? shared_passes / shared_least : 1; }
  double matrix_ways() const { return matrix_least > 0 ? matrix_passes / matrix_least : 1; }
  double mma_ratio() const { return workload.mma_flops > 0 ? mma_flops / workload.mma_flops : 1; }
};

/// Adds what the meter counted of one kernel.
void add_kernel(MeteredWorkload& m, const simt::KernelTraffic& k);

/// Runs every workload whose name contains `filter` once under the meter. `done` hears of each.
std::vector<MeteredWorkload> meter_kernels(CudaContext& ctx, const std::string& filter,
                                           const std::function<void(const MeteredWorkload&)>& done);

/// Seconds on an H100 by docs/performance.md's model: the slowest of its units, and the launches.
double predicted_seconds(const MeteredWorkload& w);

std::string meter_markdown(const std::vector<MeteredWorkload>& workloads, const std::string& command);
std::string meter_json(const std::vector<MeteredWorkload>& workloads);

enum class Extent { kAll, kFiltered };

/// What got worse by more than 2 % against meter_json() of an earlier run, is new or is no longer measured (kAll), and
/// what misses a requirement without a remark that says why; one line each. DataError for a malformed file.
std::vector<std::string> meter_regressions(const std::vector<MeteredWorkload>& now, const std::string& earlier_json,
                                           const std::string& file, Extent extent);

}  // namespace galrec::apps
