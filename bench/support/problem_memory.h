#pragma once
// The operands of one benchmarked problem, in the memory of any context. Inputs hold values that bf16, float and double
// all represent, so that the same problem in double on the CPU is the oracle of the one that is timed.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"
#include "kernels/common/philox.h"
#include "kernels/common/view.h"

namespace galrec::bench {

template <class Context>
class ProblemMemory {
 public:
  explicit ProblemMemory(Context& ctx) : ctx_(ctx) {}

  Context& context() const { return ctx_; }
  std::int64_t bytes() const { return bytes_; }

  /// (rows, cols) of uniform numbers in [-scale, scale], rounded to bf16.
  template <class T>
  View<T, 2> in(std::int64_t rows, std::int64_t cols, double scale = 1) {
    return View<T, 2>(uniform<T>(rows * cols, -scale, scale), {rows, cols});
  }
  template <class T>
  View<T, 1> in(std::int64_t n, double scale = 1) {
    return View<T, 1>(uniform<T>(n, -scale, scale), {n});
  }
  /// Positive numbers: [low, low + 1], rounded to bf16.
  template <class T>
  View<T, 1> positive(std::int64_t n, double low) {
    return View<T, 1>(uniform<T>(n, low, low + 1), {n});
  }
  View<std::int32_t, 1> ids(std::int64_t n, std::int64_t below) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0xbe9e});
    std::vector<std::int32_t> values(static_cast<std::size_t>(n));
    for (auto& v : values) v = static_cast<std::int32_t>(stream.below(static_cast<std::uint64_t>(below)));
    return keep(values);
  }
  template <class T>
  View<T, 1> keep(const std::vector<T>& values) {
    const auto n = static_cast<std::int64_t>(values.size());
    T* data = allocate<T>(n);
    if (n > 0) ctx_.memory().upload(data, values.data(), values.size() * sizeof(T));
    return View<T, 1>(data, {n});
  }

  /// Zeros that the problem works on and nobody compares.
  template <class T>
  View<T, 2> work(std::int64_t rows, std::int64_t cols) {
    T* data = allocate<T>(rows * cols);
    ctx_.memory().clear(data, static_cast<std::size_t>(rows * cols) * sizeof(T));
    return View<T, 2>(data, {rows, cols});
  }
  template <class T>
  View<T, 1> work(std::int64_t n) {
    return View<T, 1>(work<T>(1, n).data, {n});
  }
  /// Zeros that are compared with the oracle's.
  template <class T>
  View<T, 2> out(std::int64_t rows, std::int64_t cols) {
    const View<T, 2> view = work<T>(rows, cols);
    compare(view.data, rows * cols);
    return view;
  }
  template <class T>
  View<T, 1> out(std::int64_t n) {
    return View<T, 1>(out<T>(1, n).data, {n});
  }
  /// Adds what lies at `data` to what is compared (an input that is updated in place).
  template <class T>
  void compare(const T* data, std::int64_t n) {
    results_.push_back([this, data, n] {
      std::vector<T> values(static_cast<std::size_t>(n));
      ctx_.memory().download(values.data(), data, values.size() * sizeof(T));
      std::vector<double> out;
      for (const T& v : values) out.push_back(static_cast<double>(v));
      return out;
    });
  }

  std::vector<std::vector<double>> results() const {
    std::vector<std::vector<double>> out;
    for (const auto& f : results_) out.push_back(f());
    return out;
  }

 private:
  template <class T>
  static T convert(bfloat16 x) {
    if constexpr (std::is_same_v<T, bfloat16>)
      return x;
    else
      return static_cast<T>(static_cast<float>(x));
  }
  template <class T>
  T* uniform(std::int64_t n, double low, double high) {
    // A prime number of values, repeated on the device: rows differ, and gigabytes need not pass through the host.
    constexpr std::int64_t kBlock = 1048573;
    const std::int64_t first = std::min(n, kBlock);
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0xbe9c});
    std::vector<T> values(static_cast<std::size_t>(first));
    for (auto& v : values) v = convert<T>(bfloat16(static_cast<float>(low + (high - low) * stream.uniform())));
    T* data = allocate<T>(n);
    ctx_.memory().upload(data, values.data(), values.size() * sizeof(T));
    for (std::int64_t done = first; done < n;) {
      const std::int64_t part = std::min(done, n - done);
      ctx_.memory().copy(data + done, data, static_cast<std::size_t>(part) * sizeof(T));
      done += part;
    }
    return data;
  }
  template <class T>
  T* allocate(std::int64_t n) {
    auto owned = std::make_shared<Buffer<T>>(std::max<std::int64_t>(n, 1), ctx_.memory());
    T* data = owned->data();
    owners_.push_back(std::move(owned));
    bytes_ += n * static_cast<std::int64_t>(sizeof(T));
    return data;
  }

  Context& ctx_;
  std::uint64_t seed_ = 0;
  std::int64_t bytes_ = 0;
  std::vector<std::shared_ptr<void>> owners_;
  std::vector<std::function<std::vector<double>()>> results_;
};

/// Largest error of any output over the largest magnitude of that output (at least 1e-3); infinite for NaN or another
/// shape.
inline double largest_error(const std::vector<std::vector<double>>& actual,
                            const std::vector<std::vector<double>>& expected) {
  if (actual.size() != expected.size()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (actual[i].size() != expected[i].size()) return HUGE_VAL;
    double largest = 1e-3, error = 0;
    for (std::size_t e = 0; e < expected[i].size(); ++e) {
      if (!std::isfinite(actual[i][e]) || !std::isfinite(expected[i][e])) return HUGE_VAL;
      largest = std::max(largest, std::abs(expected[i][e]));
      error = std::max(error, std::abs(actual[i][e] - expected[i][e]));
    }
    worst = std::max(worst, error / largest);
  }
  return worst;
}

}  // namespace galrec::bench
