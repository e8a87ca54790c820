#pragma once
// Judging a run against a recording. A tensor that misses its plain tolerance is allowed what rounding does to it, and
// that is measured, not guessed: the weights of a checkpoint are fp32 numbers, a model whose weights differ from them
// by half an ulp is the same model for all that anyone can know, and no record can be asked to be more exact than its
// own response to that. Wide random weights (as golden fixtures have) amplify half an ulp to 1e-4 in gradients, and
// Adam, which turns the sign of a gradient into a step, to 1e-2 in parameters; a wrong term in the code shows far
// above. Nor can a record be more exact than its arithmetic: transformers takes norms and softmax in fp32 even in a float64
// model, and the gradient of a softmax that is nearly one-hot is what cancellation leaves of that. So the measured runs
// also keep between operations no more than fp32.
//
// bf16 is judged by another rule: at most twice the error of the naive computation in the same precision. That one is run
// here, by the oracle: exact arithmetic that stores nothing but bf16 - weights, what every operation leaves, gradients,
// updated weights. An accident may bring one naive number close to the exact one, so there are several naive runs, their
// weights moved by up to half an ulp of bf16 before they are rounded; a tensor's naive error is the largest of all. It is
// measured against the exact oracle, not against the record: what a record has wrong excuses nothing.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "autograd/parameter_store.h"
#include "autograd/tape.h"
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

/// Which variant of the oracle runs.
struct ParityProbe {
  autograd::Rounding stored = autograd::Rounding::kNone;  ///< what is kept between operations
  std::uint64_t number = 0;  ///< 0: weights as they are; 1, 2, ...: moved by up to half an ulp of fp32, or of bf16

  /// Whether weights and inputs are rounded as well; to fp32 they are already.
  bool rounds_weights() const { return stored == autograd::Rounding::kBf16; }
};

/// Multiplies every value by 1 + u, u uniform in half an ulp and a function of (number, name, element); number 0 does not. Then
/// rounds where the probe does.
void apply_probe(autograd::ParameterStore<double>& store, const ParityProbe& probe);
/// The same for the rest of what a run starts from or stores on its way: rounds where the probe does.
void apply_probe(View<double, 1> values, const ParityProbe& probe);
/// Makes everything that is computed on the tape what the probe stores between operations.
void apply_probe(autograd::Tape<double>& tape, const ParityProbe& probe);
/// Runs in other precisions than the oracle's are as they are.
template <class Anything>
void apply_probe(const Anything&, const ParityProbe& probe) {
  GALREC_CHECK(probe.stored == autograd::Rounding::kNone && probe.number == 0, "a probe needs the oracle");
}

/// UsageError for double, the oracle's precision, on another device than the CPU.
void require_device(const Device& device, ParityPrecision precision);

/// f.template operator()<T>() for the storage T that a precision means on a device.
template <class F>
ParityRun run_in(ParityPrecision precision, const Device& device, F&& f) {
  require_device(device, precision);
  if (precision == ParityPrecision::kDouble) return f.template operator()<double>();
  if (precision == ParityPrecision::kBf16 && device.kind() == DeviceKind::kCuda) return f.template operator()<bfloat16>();
  return f.template operator()<float>();
}

/// Compares every recorded tensor; `oracle` runs the same in double as a probe says, for fp32 and double only if some tensor
/// misses its plain tolerance. Names that begin with "grad" are gradients. DataError naming a recorded
/// tensor that `ours` lacks.
ParityReport judge_parity(const data::SafetensorsFile& recorded, const ParityRun& ours,
                          const std::function<ParityRun(const ParityProbe&)>& oracle, ParityPrecision precision,
                          std::span<const ParityUpdate> updates);

}  // namespace galrec::layers
