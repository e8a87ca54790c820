#pragma once
// Comparisons for tests. Written `err <= tol`, so that NaN fails; infinities and missing elements fail too.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/common/dtype.h"
#include "kernels/common/view.h"

namespace galrec::test {

/// One tolerance per type: error relative to the largest expected magnitude (at least `floor`).
template <class T>
struct Tolerance;
template <>
struct Tolerance<float> {
  static constexpr double kRelative = 2e-5;
};
template <>
struct Tolerance<double> {
  static constexpr double kRelative = 1e-11;
};
/// Outputs stored in bf16: two roundings' worth (each at most 2^-9 of the value), as design section 8 allows twice the error
/// of a naive version that rounds once.
template <>
struct Tolerance<bfloat16> {
  static constexpr double kRelative = 4e-3;
};

/// Largest |actual - expected| / max(|expected|_max, floor); infinity when anything is not finite or sizes differ.
template <class A, class E>
double relative_error(const A& actual, const E& expected, double floor = 1e-3) {
  const auto n = static_cast<std::int64_t>(expected.size());
  if (static_cast<std::int64_t>(actual.size()) != n) return HUGE_VAL;
  double largest = floor, error = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(static_cast<double>(expected[i])) || !std::isfinite(static_cast<double>(actual[i]))) return HUGE_VAL;
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    error = std::max(error, std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
  }
  return error / largest;
}

/// Expects containers of equal size to agree within `tolerance` of the largest expected magnitude.
template <class A, class E>
void expect_close(const A& actual, const E& expected, double tolerance, const std::string& what) {
  const double error = relative_error(actual, expected);
  EXPECT_TRUE(error <= tolerance) << what << ": relative error " << error << " > " << tolerance << " (sizes " << actual.size()
                                  << ", " << expected.size() << ")";
}

/// Expects bit-for-bit equality.
template <class A, class E>
void expect_same_bits(const A& actual, const E& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < static_cast<std::size_t>(actual.size()); ++i) {
    auto a = actual[i];
    auto e = expected[i];
    static_assert(sizeof(a) == sizeof(e));
    ASSERT_EQ(0, std::memcmp(&a, &e, sizeof(a))) << what << ": element " << i << ": " << a << " and " << e;
  }
}

}  // namespace galrec::test
