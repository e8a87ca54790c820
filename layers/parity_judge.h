#pragma once
// Judging a run against a recording. A tensor that misses its plain tolerance is allowed what rounding does to it, and
// that is measured, not guessed: the weights of a checkpoint are fp32 numbers, a model whose weights differ from them
// by half an ulp is the same model for all that anyone can know, and no record can be asked to be more exact than its
// own response to that. Wide random weights (as golden fixtures have) amplify half an ulp to 1e-4 in gradients, and
// Adam, which turns the sign of a gradient into a step, to 1e-2 in parameters; a wrong term in the code shows far
// above.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "autograd/parameter_store.h"
#include "data/safetensors.h"
#include "kernels/common/context.h"
#include "layers/parity_report.h"

namespace galrec::layers {

/// Everything that a run computes, by the names under which it is recorded.
struct ParityRun {
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, std::vector<std::int64_t>> integers;
};

/// Recorded tensors `prefix`NAME are parameters after optimiser steps, of first gradient `grad.NAME`.
struct ParityUpdate {
  std::string prefix;
  AdamAllowance allowance;  // gradient_tolerance is filled in
};

/// Which variant of the weights a run has: 0 as they are, 1, 2, ... moved by up to half an ulp.
using ParityProbe = std::uint64_t;

/// Multiplies every value by 1 + u, u uniform in [-2^-24, 2^-24) and a function of (probe, name, element); probe 0 does
/// nothing.
void perturb_parameters(autograd::ParameterStore<double>& store, ParityProbe probe);
inline void perturb_parameters(autograd::ParameterStore<float>&, ParityProbe probe) {
  GALREC_CHECK(probe == 0, "half an ulp of fp32 cannot be added in fp32");
}

/// UsageError for double, the oracle's precision, on another device than the CPU.
void require_device(const Device& device, ParityPrecision precision);

/// Compares every recorded tensor; `exact` runs the same in double with the weights of a probe and is called only if
/// some tensor misses its plain tolerance. Names that begin with "grad" are gradients. DataError naming a recorded
/// tensor that `ours` lacks.
ParityReport judge_parity(const data::SafetensorsFile& recorded, const ParityRun& ours,
                          const std::function<ParityRun(ParityProbe)>& exact, ParityPrecision precision,
                          std::span<const ParityUpdate> updates);

}  // namespace galrec::layers
