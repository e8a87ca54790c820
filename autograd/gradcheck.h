#pragma once
// Gradient check of whole operations in double: the tape's gradients against central differences.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "kernels/common/context.h"
#include "kernels/common/philox.h"

namespace galrec::autograd {

/// An input of the function under check.
struct GradcheckLeaf {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> values;  // (rows * cols)

  /// Normal numbers from (seed).
  static GradcheckLeaf normal(std::int64_t rows, std::int64_t cols, std::uint64_t seed, double deviation = 1.0) {
    PhiloxStream stream({.seed = seed, .step = 0, .stream = 0x6c});
    GradcheckLeaf leaf{rows, cols, std::vector<double>(static_cast<std::size_t>(rows * cols))};
    for (auto& x : leaf.values) x = deviation * stream.normal();
    return leaf;
  }
};

/// The largest error over all leaves, relative to the leaf's largest gradient; infinite where a gradient is missing or
/// not finite.
struct GradcheckResult {
  double error = 0;
  std::string where;
};

using GradcheckFunction = std::function<Variable<double>(Tape<double>&, std::span<const Variable<double>>)>;

namespace detail {

/// sum of y times fixed random weights, so that every element of y matters in its own way.
inline Variable<double> weigh(Tape<double>& tape, Variable<double> y, const std::vector<double>& weights) {
  const auto loss = tape.output(1, 1, {y});
  double sum = 0;
  for (std::int64_t r = 0; r < y.rows(); ++r) {
    for (std::int64_t c = 0; c < y.cols(); ++c)
      sum += y.value()(r, c) * weights[static_cast<std::size_t>(r * y.cols() + c)];
  }
  loss.value()(0, 0) = sum;
  tape.record("weigh", loss, [&tape, y, loss, &weights] {
    const auto dy = tape.claim(y);
    const double g = tape.gradient(loss)(0, 0);
    for (std::int64_t r = 0; r < y.rows(); ++r) {
      for (std::int64_t c = 0; c < y.cols(); ++c) {
        const double d = g * weights[static_cast<std::size_t>(r * y.cols() + c)];
        dy.view(r, c) = dy.accumulate == Accumulate::kAdd ? dy.view(r, c) + d : d;
      }
    }
  });
  return loss;
}

}  // namespace detail

/// Checks d(sum of w f(leaves)) for every element of every leaf. f is called with a fresh step and the same dropout key
/// each time, so that masks are part of the function.
inline GradcheckResult gradcheck(const GradcheckFunction& f, std::vector<GradcheckLeaf> leaves, double step = 1e-5) {
  CpuContext ctx;
  Tape<double> tape{Device(ctx)};
  std::vector<double> weights;
  std::vector<Variable<double>> inputs;
  const auto evaluate = [&] {
    tape.reset(Recording::kOn, {.seed = 11, .step = 3, .stream = 0});
    inputs.clear();
    for (auto& leaf : leaves) inputs.push_back(tape.leaf(view_of(leaf.values, leaf.rows, leaf.cols)));
    const auto y = f(tape, inputs);
    if (weights.empty()) {
      PhiloxStream stream({.seed = 5, .step = 0, .stream = 0x77});
      for (std::int64_t i = 0; i < y.value().size(); ++i) weights.push_back(stream.normal());
    }
    return detail::weigh(tape, y, weights);
  };
  tape.reset(Recording::kOn);
  tape.backward(evaluate());
  std::vector<std::vector<double>> gradients;
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    const auto g = tape.gradient(inputs[l]);
    if (!g) return {HUGE_VAL, "leaf " + std::to_string(l) + " got no gradient"};
    auto& values = gradients.emplace_back();
    for (std::int64_t r = 0; r < g.rows(); ++r) values.insert(values.end(), g.row(r), g.row(r) + g.cols());
  }
  GradcheckResult result;
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    double largest = 1e-3;
    for (const double g : gradients[l]) largest = std::max(largest, std::abs(g));
    for (std::size_t i = 0; i < leaves[l].values.size(); ++i) {
      double& x = leaves[l].values[i];
      const double kept = x;
      x = kept + step;
      const double up = evaluate().value()(0, 0);
      x = kept - step;
      const double down = evaluate().value()(0, 0);
      x = kept;
      const double numeric = (up - down) / (2 * step);
      const double error = std::abs(numeric - gradients[l][i]) / largest;
      if (!(error <= result.error)) {
        result.error = std::isfinite(error) ? error : HUGE_VAL;
        result.where = fmt::format("leaf {}, element {}: difference {}, gradient {}", l, i, numeric, gradients[l][i]);
      }
    }
  }
  return result;
}

}  // namespace galrec::autograd
