#pragma once
// Central differences in double: the root of the proof chain for every backward kernel.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace galrec::test {

/// Compares `gradient` with central differences of `f()` over the elements of `x` (every one, or `samples` spread evenly).
/// f must read x anew at each call and return the scalar objective in double.
template <class F>
void expect_gradient(F&& f, std::vector<double>& x, const std::vector<double>& gradient, const std::string& what,
                     double tolerance = 1e-6, std::int64_t samples = 200, double step = 1e-4) {
  ASSERT_EQ(x.size(), gradient.size()) << what;
  const auto n = static_cast<std::int64_t>(x.size());
  const std::int64_t stride = std::max<std::int64_t>(1, n / samples);
  double largest = 1e-3;
  for (double g : gradient) largest = std::max(largest, std::abs(g));
  for (std::int64_t i = 0; i < n; i += stride) {
    const double kept = x[i];
    x[i] = kept + step;
    const double up = f();
    x[i] = kept - step;
    const double down = f();
    x[i] = kept;
    const double numeric = (up - down) / (2 * step);
    ASSERT_TRUE(std::abs(numeric - gradient[i]) <= tolerance * largest)
        << what << " element " << i << ": central difference " << numeric << ", gradient " << gradient[i];
  }
}

}  // namespace galrec::test
