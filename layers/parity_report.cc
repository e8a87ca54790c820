#include "layers/parity_report.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"

namespace galrec::layers {

namespace {

double largest_magnitude(std::span<const double> x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}

void check_sizes(const std::string& name, std::size_t actual, std::size_t expected) {
  if (actual != expected)
    throw DataError(fmt::format("{}: {} elements are recorded, the model has {}", name, expected, actual));
}

/// The element whose error uses most of its limit; anything that is not finite uses all of it and more.
template <class Limit>
ParityLine judge(const std::string& name, std::span<const double> actual, std::span<const double> expected, double unit,
                 Limit&& limit_of) {
  ParityLine line{.name = name, .max_error = 0, .tolerance = expected.empty() ? 0 : limit_of(0) / unit, .ok = true};
  double most = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double limit = limit_of(i);
    const double error = std::abs(actual[i] - expected[i]);
    const bool finite = std::isfinite(actual[i]) && std::isfinite(expected[i]);
    if (!finite || !(error <= limit)) line.ok = false;
    const double used = !finite ? HUGE_VAL : (error == 0 ? 0 : error / limit);
    if (used > most) {
      most = used;
      line.max_error = finite ? error / unit : HUGE_VAL;
      line.tolerance = limit / unit;
    }
  }
  return line;
}

/// Errors are relative to the largest magnitude; a tensor of zeros is compared absolutely.
double unit_of(std::span<const double> expected) {
  const double largest = largest_magnitude(expected);
  return largest > 0 && std::isfinite(largest) ? largest : 1.0;
}

}  // namespace

ParityTolerance ParityTolerance::of(ParityPrecision precision) {
  // transformers keeps RMSNorm's mean square in fp32 even in a float64 model, so the records themselves carry one
  // rounding of fp32 per norm and token: about as much as half an ulp in the weights. A run in fp32 rounds everywhere.
  // Where all attention goes to one key, the gradients of q and k are differences of equal numbers: nothing, or rounding.
  if (precision == ParityPrecision::kDouble)
    return {.value = 2e-6, .gradient = 4e-6, .updated = 2e-6, .response = 4, .noise = 0x1.0p-50};
  return {.value = 1e-4, .gradient = 1e-4, .updated = 1e-4, .response = 16, .noise = 0x1.0p-24};
}

void ParityReport::compare(const std::string& name, std::span<const double> actual, std::span<const double> expected,
                           double tolerance, double slack) {
  check_sizes(name, actual.size(), expected.size());
  const double unit = unit_of(expected);
  lines_.push_back(judge(name, actual, expected, unit, [&](std::size_t) { return tolerance * unit + slack; }));
}

void ParityReport::compare_updated(const std::string& name, std::span<const double> actual,
                                   std::span<const double> expected, std::span<const double> gradient, double tolerance,
                                   const AdamAllowance& allowance, double slack) {
  check_sizes(name, actual.size(), expected.size());
  if (!gradient.empty()) check_sizes("gradient of " + name, gradient.size(), expected.size());
  constexpr double kSensitivity = 4;
  const double unit = unit_of(expected);
  const double delta = allowance.gradient_tolerance * largest_magnitude(gradient) + allowance.gradient_slack;
  const double reach = allowance.share * allowance.lr * static_cast<double>(allowance.steps);
  lines_.push_back(judge(name, actual, expected, unit, [&](std::size_t i) {
    const double g = gradient.empty() ? 0.0 : std::abs(gradient[i]);
    const double moved = gradient.empty() || delta == 0 ? 0.0 : (kSensitivity * delta >= 2 * g ? 2.0 : kSensitivity * delta / g);
    return tolerance * unit + reach * moved + slack;
  }));
}

void ParityReport::compare_equal(const std::string& name, std::span<const std::int64_t> actual,
                                 std::span<const std::int64_t> expected) {
  check_sizes(name, actual.size(), expected.size());
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) wrong += actual[i] != expected[i];
  lines_.push_back({.name = name, .max_error = static_cast<double>(wrong), .tolerance = 0, .ok = wrong == 0});
}

bool ParityReport::ok() const {
  return !lines_.empty() && std::all_of(lines_.begin(), lines_.end(), [](const auto& l) { return l.ok; });
}

const ParityLine& ParityReport::worst() const {
  GALREC_CHECK(!lines_.empty(), "nothing was compared");
  const auto share = [](const ParityLine& l) {
    return l.tolerance > 0 ? l.max_error / l.tolerance : (l.ok ? 0 : HUGE_VAL);
  };
  return *std::max_element(lines_.begin(), lines_.end(),
                           [&](const auto& a, const auto& b) { return share(a) < share(b); });
}

std::string ParityReport::to_text() const {
  std::size_t width = 6;
  for (const auto& l : lines_) width = std::max(width, l.name.size());
  std::string text = fmt::format("{:<{}}  {:>12}  {:>9}\n", "tensor", width, "largest error", "tolerance");
  for (const auto& l : lines_) {
    text += fmt::format("{:<{}}  {:>13.3e}  {:>9.1e}  {}\n", l.name, width, l.max_error, l.tolerance,
                        l.ok ? "ok" : "BEYOND");
  }
  return text;
}

}  // namespace galrec::layers
