#pragma once
// Inputs for tests: Philox numbers, rounded to float first, so that float and double kernels see the same values.

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/common/philox.h"

namespace galrec::test {

template <class T>
std::vector<T> random_normal(std::int64_t n, std::uint64_t seed, double scale = 1.0) {
  PhiloxStream stream({.seed = seed, .step = 0, .stream = 0x7e57});
  std::vector<T> out(static_cast<std::size_t>(n));
  for (auto& x : out) x = static_cast<T>(static_cast<float>(scale * stream.normal()));
  return out;
}

inline std::vector<std::int32_t> random_ids(std::int64_t n, std::int32_t below, std::uint64_t seed) {
  PhiloxStream stream({.seed = seed, .step = 0, .stream = 0x1d5});
  std::vector<std::int32_t> out(static_cast<std::size_t>(n));
  for (auto& x : out) x = static_cast<std::int32_t>(stream.below(static_cast<std::uint64_t>(below)));
  return out;
}

template <class To, class From>
std::vector<To> convert(const std::vector<From>& in) {
  return std::vector<To>(in.begin(), in.end());
}

/// The extents that break kernels: 1, around vector and tile sizes, primes.
inline const std::vector<std::int64_t>& hostile_extents() {
  static const std::vector<std::int64_t> extents = {1, 31, 33, 127, 257, 769};
  return extents;
}

}  // namespace galrec::test
