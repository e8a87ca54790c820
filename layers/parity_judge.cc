#include "layers/parity_judge.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "layers/init.h"

namespace galrec::layers {

namespace {

constexpr ParityProbe kProbes = 4;

using Responses = std::map<std::string, double>;

double largest_magnitude(const std::vector<double>& x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}

/// Per tensor, the largest change over all probes; a probe that is not finite says nothing.
Responses measure(const std::function<ParityRun(ParityProbe)>& exact) {
  const ParityRun base = exact(0);
  Responses responses;
  for (ParityProbe probe = 1; probe <= kProbes; ++probe) {
    const ParityRun moved = exact(probe);
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

ParityReport compare_all(const data::SafetensorsFile& recorded, const ParityRun& ours, const ParityTolerance& tolerance,
                         std::span<const ParityUpdate> updates, const Responses& responses) {
  ParityReport report;
  const auto response_of = [&](const std::string& name) {
    const auto found = responses.find(name);
    return found == responses.end() ? 0.0 : tolerance.response * found->second;
  };
  for (const auto& [name, info] : recorded.tensors()) {
    if (const auto found = ours.integers.find(name); found != ours.integers.end()) {
      report.compare_equal(name, found->second, recorded.read_i64(name));
      continue;
    }
    const auto found = ours.values.find(name);
    if (found == ours.values.end())
      throw DataError(fmt::format("{}: {}: nothing in this model goes by that name", recorded.name(), name));
    const auto expected = recorded.read_f64(name);
    // The longest prefix that fits: "updated.momentum." before "updated.".
    const ParityUpdate* update = nullptr;
    for (const auto& u : updates) {
      if (name.starts_with(u.prefix) && (update == nullptr || u.prefix.size() > update->prefix.size())) update = &u;
    }
    if (update == nullptr) {
      const double limit = name.starts_with("grad") ? tolerance.gradient : tolerance.value;
      report.compare(name, found->second, expected, limit, response_of(name));
      continue;
    }
    const std::string gradient_name = "grad." + name.substr(update->prefix.size());
    const auto gradient = recorded.contains(gradient_name) ? recorded.read_f64(gradient_name) : std::vector<double>{};
    AdamAllowance allowance = update->allowance;
    allowance.gradient_tolerance = tolerance.gradient;
    if (const double largest = largest_magnitude(gradient); largest > 0) {
      allowance.gradient_tolerance += response_of(gradient_name) / largest;
    }
    // Losses of later steps have the prefix but no gradient, and are compared as values.
    if (gradient.size() == expected.size()) {
      report.compare_updated(name, found->second, expected, gradient, tolerance.updated, allowance, response_of(name));
    } else {
      report.compare(name, found->second, expected, tolerance.updated, response_of(name));
    }
  }
  return report;
}

}  // namespace

void perturb_parameters(autograd::ParameterStore<double>& store, ParityProbe probe) {
  if (probe == 0) return;
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {
    PhiloxStream stream(parameter_key(probe, store.span(id).name));
    store.edit(id, [&](View<double, 2> values) {
      for (std::int64_t i = 0; i < values.size(); ++i) values.data[i] *= 1.0 + (2.0 * stream.uniform() - 1.0) * 0x1.0p-24;
    });
  }
}

void require_device(const Device& device, ParityPrecision precision) {
  if (precision == ParityPrecision::kDouble && device.kind() != DeviceKind::kCpu)
    throw UsageError("--precision double: only --device cpu computes in double");
}

ParityReport judge_parity(const data::SafetensorsFile& recorded, const ParityRun& ours,
                          const std::function<ParityRun(ParityProbe)>& exact, ParityPrecision precision,
                          std::span<const ParityUpdate> updates) {
  const auto tolerance = ParityTolerance::of(precision);
  const ParityReport plain = compare_all(recorded, ours, tolerance, updates, {});
  if (plain.ok()) return plain;
  return compare_all(recorded, ours, tolerance, updates, measure(exact));
}

}  // namespace galrec::layers
