#pragma once
// The observer of instrumented builds (GALREC_SIMT_INSTRUMENT): puts what the executor and the compiler's callbacks
// report in front of the race detector or the traffic meter. GALREC_SIMT_WATCH chooses: `race` (the default), `meter`
// or `none`.

#include <cstdint>
#include <map>
#include <string>

#include "kernels/simt/instrument/access.h"
#include "kernels/simt/instrument/traffic_meter.h"

namespace galrec::simt {

enum class Watch { kNone, kRaces, kTraffic };

/// What is watched from now on. Not while a grid runs.
void set_watch(Watch watch);
Watch current_watch();

/// Traffic since the last clear, by kernel.
const std::map<std::string, KernelTraffic>& metered_kernels();
void clear_metered_kernels();

/// A plain load or store of the running CUDA thread; nothing in host code and for its own stack.
void observe_access(const void* p, std::uint32_t bytes, AccessType type, const void* pc);

}  // namespace galrec::simt
