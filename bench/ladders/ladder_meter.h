#pragma once
// The rungs of the teaching ladders under the executor's traffic meter: what each moves and multiplies beside the least that the
// contract of its ladder needs, and the time that docs/performance.md's model gives it on an H100.

#include <functional>
#include <string>
#include <vector>

#include "apps/galrec/meter/kernel_meter.h"
#include "kernels/common/rung.h"

namespace galrec::bench {

/// One rung of a ladder, ready to run.
struct LadderRung {
  std::string name;
  ladder::Units units;
  std::function<void(CudaContext&)> run;
};

/// One ladder on one shape.
struct LadderWorkload {
  std::string operation, shape;
  double load_bytes = 0, store_bytes = 0;  // of the contract: inputs read once, outputs written once
  double flops = 0, exps = 0;              // of its products and its softmax
  std::vector<LadderRung> rungs;
};

struct MeteredRung {
  apps::MeteredWorkload counts;
  double blocks = 0;  // of all launches
};

/// gemm, attention, rms_norm, info_nce at widths of a T5 small enough for the executor. Buffers live as long as the closures.
std::vector<LadderWorkload> ladder_workloads(CudaContext& ctx);

/// Runs every rung once under the meter.
std::vector<MeteredRung> meter_ladder(CudaContext& ctx, const LadderWorkload& ladder);

/// A section with one row per rung; times on an H100 by the meter's predicted_seconds().
std::string ladder_markdown(const LadderWorkload& ladder, const std::vector<MeteredRung>& rungs);

}  // namespace galrec::bench
