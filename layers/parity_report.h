#pragma once
// The outcome of running a checkpoint on a recorded batch: one line per recorded tensor.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace galrec::layers {

/// kBf16: bf16 storage on CUDA, on the CPU the products of bf16 operands that its context asks for.
enum class ParityPrecision { kFloat, kDouble, kBf16 };

/// One recorded tensor against ours.
struct ParityLine {
  std::string name;
  double max_error =
      0;  // |ours - recorded| / largest |recorded| at the element that comes closest to its limit or exceeds it most
  double tolerance = 0;  // the limit of that element, in the same unit
  bool ok = false;
};

/// How far a tensor may be off, relative to its largest magnitude.
struct ParityTolerance {
  double value;     // states, losses, logits
  double gradient;  // gradients and their norm
  double updated;   // parameters after optimiser steps
  double response;  // times what half an ulp of fp32 in the weights does to the tensor (layers/parity_judge.h)
  double noise;     // of gradients, relative to the norm of all of them: what cancels leaves rounding, which updates follow

  /// For fp32 and double; bf16 has a rule of its own (layers/parity_judge.h).
  static ParityTolerance of(ParityPrecision precision);
};

/// What Adam can make of an admissible gradient error. One update is lr g / (|g| + eps) at first and lr m / (sqrt(v) +
/// eps) later: it depends on the ratio of gradients only, so that a gradient error of delta moves an element of
/// gradient g by up to lr min(2, k delta / |g|) per step: nothing to speak of for ordinary elements, a flipped sign
/// where |g| <= delta.
struct AdamAllowance {
  double lr = 0;
  std::int64_t steps = 1;
  double gradient_tolerance = 0;  // delta relative to the tensor's largest gradient
  double gradient_slack = 0;      // and what it may be besides
  double share = 1;               // of the update that reaches the tensor: 1 - m for a moving average
};

class ParityReport {
 public:
  /// Adds a line: all elements within `tolerance` times the largest recorded magnitude plus `slack`, and finite.
  /// DataError naming the tensor where the sizes differ.
  void compare(const std::string& name, std::span<const double> actual, std::span<const double> expected,
               double tolerance, double slack = 0);
  /// For parameters after AdamW steps; `gradient` is the recorded first gradient (empty: it never had one).
  void compare_updated(const std::string& name, std::span<const double> actual, std::span<const double> expected,
                       std::span<const double> gradient, double tolerance, const AdamAllowance& allowance,
                       double slack = 0);
  /// Adds a line that holds or not, for integers.
  void compare_equal(const std::string& name, std::span<const std::int64_t> actual,
                     std::span<const std::int64_t> expected);

  const std::vector<ParityLine>& lines() const { return lines_; }
  /// False also for an empty report.
  bool ok() const;
  /// The line that is closest to its limit or exceeds it most; CheckError where there are none.
  const ParityLine& worst() const;
  /// A table: tensor, largest error, tolerance, verdict.
  std::string to_text() const;

 private:
  std::vector<ParityLine> lines_;
};

}  // namespace galrec::layers
