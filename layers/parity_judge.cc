#include "layers/parity_judge.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "layers/init.h"

namespace galrec::layers {

namespace {

constexpr std::uint64_t kProbes = 4;
constexpr std::uint64_t kNaiveRuns = 8;
constexpr double kNaiveFactor = 2;  // the rule of bf16

using Responses = std::map<std::string, double>;

const std::vector<double>& values_of(const data::SafetensorsFile& recorded, const ParityRun& ours, const std::string& name) {
  const auto found = ours.values.find(name);
  if (found == ours.values.end())
    throw DataError(fmt::format("{}: {}: nothing in this model goes by that name", recorded.name(), name));
  return found->second;
}

double largest_magnitude(const std::vector<double>& x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}

/// Per tensor, the largest change over `probes` of the oracle; a probe that is not finite says nothing.
Responses measure(const std::function<ParityRun(const ParityProbe&)>& oracle, std::span<const ParityProbe> probes) {
  const ParityRun base = oracle({});
  Responses responses;
  for (const ParityProbe& probe : probes) {
    const ParityRun moved = oracle(probe);
    for (const auto& [name, values] : base.values) {
      double& response = responses[name];
      const auto& other = moved.values.at(name);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double change = std::abs(values[i] - other[i]);
        if (std::isfinite(change)) response = std::max(response, change);
      }
    }
  }
  return responses;
}

std::vector<ParityProbe> numbered(autograd::Rounding stored, std::uint64_t first, std::uint64_t count) {
  std::vector<ParityProbe> probes;
  for (std::uint64_t number = first; number < first + count; ++number) probes.push_back({.stored = stored, .number = number});
  return probes;
}

/// Every recorded tensor within its plain tolerance, `tolerance.response` times its response and, gradients, `tolerance.noise`.
ParityReport compare_all(const data::SafetensorsFile& recorded, const ParityRun& ours, const ParityTolerance& tolerance,
                         std::span<const ParityUpdate> updates, const Responses& responses) {
  ParityReport report;
  const auto response_of = [&](const std::string& name) {
    const auto found = responses.find(name);
    return found == responses.end() ? 0.0 : tolerance.response * found->second;
  };
  const double noise = recorded.contains("grad_norm") ? tolerance.noise * largest_magnitude(recorded.read_f64("grad_norm")) : 0.0;
  for (const auto& [name, info] : recorded.tensors()) {
    if (const auto found = ours.integers.find(name); found != ours.integers.end()) {
      report.compare_equal(name, found->second, recorded.read_i64(name));
      continue;
    }
    const auto& actual = values_of(recorded, ours, name);
    const auto expected = recorded.read_f64(name);
    // The longest prefix that fits: "updated.momentum." before "updated.".
    const ParityUpdate* update = nullptr;
    for (const auto& u : updates) {
      if (name.starts_with(u.prefix) && (update == nullptr || u.prefix.size() > update->prefix.size())) update = &u;
    }
    if (update == nullptr) {
      const bool gradient = name.starts_with("grad");
      report.compare(name, actual, expected, gradient ? tolerance.gradient : tolerance.value, response_of(name) + (gradient ? noise : 0));
      continue;
    }
    const std::string gradient_name = "grad." + name.substr(update->prefix.size());
    const auto gradient = recorded.contains(gradient_name) ? recorded.read_f64(gradient_name) : std::vector<double>{};
    AdamAllowance allowance = update->allowance;
    allowance.gradient_tolerance = tolerance.gradient;
    allowance.gradient_slack = response_of(gradient_name) + noise;
    // Losses of later steps have the prefix but no gradient, and are compared as values.
    if (gradient.size() == expected.size()) {
      report.compare_updated(name, actual, expected, gradient, tolerance.updated, allowance, response_of(name));
    } else {
      report.compare(name, actual, expected, tolerance.updated, response_of(name));
    }
  }
  return report;
}

}  // namespace

void apply_probe(autograd::ParameterStore<double>& store, const ParityProbe& probe) {
  const double half_ulp = probe.rounds_weights() ? 0x1.0p-9 : 0x1.0p-24;
  for (autograd::ParameterId id = 0; id < store.size() && probe.number > 0; ++id) {
    PhiloxStream stream(parameter_key(probe.number, store.span(id).name));
    store.edit(id, [&](View<double, 2> values) {
      for (std::int64_t i = 0; i < values.size(); ++i) values.data[i] *= 1.0 + (2.0 * stream.uniform() - 1.0) * half_ulp;
    });
  }
  apply_probe(store.values(), probe);
}

void apply_probe(View<double, 1> values, const ParityProbe& probe) {
  if (!probe.rounds_weights()) return;
  for (std::int64_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(bfloat16(static_cast<float>(values[i])));
}

void apply_probe(autograd::Tape<double>& tape, const ParityProbe& probe) {
  tape.round_to(probe.stored);
}

void require_device(const Device& device, ParityPrecision precision) {
  if (precision == ParityPrecision::kDouble && device.kind() != DeviceKind::kCpu)
    throw UsageError("--precision double: only --device cpu computes in double");
}

ParityReport judge_parity(const data::SafetensorsFile& recorded, const ParityRun& ours,
                          const std::function<ParityRun(const ParityProbe&)>& oracle, ParityPrecision precision,
                          std::span<const ParityUpdate> updates) {
  if (precision == ParityPrecision::kBf16) {
    const ParityTolerance naive{.value = 0, .gradient = 0, .updated = 0, .response = kNaiveFactor, .noise = 0};
    return compare_all(recorded, ours, naive, updates, measure(oracle, numbered(autograd::Rounding::kBf16, 0, kNaiveRuns)));
  }
  const auto tolerance = ParityTolerance::of(precision);
  const ParityReport plain = compare_all(recorded, ours, tolerance, updates, {});
  if (plain.ok()) return plain;
  return compare_all(recorded, ours, tolerance, updates, measure(oracle, numbered(autograd::Rounding::kFloat, 1, kProbes)));
}

}  // namespace galrec::layers
