#pragma once
// The maximum of a row. Not an OpenMP max reduction: its start value is -inf with one compiler and the lowest finite
// number with another, which differ where every element is -inf (masked).

#include <cstdint>

namespace galrec {

/// The largest of `start` and x[0 .. n). A NaN is never preferred.
template <class T>
inline T row_max(const T* x, std::int64_t n, T start) {
  constexpr int kLanes = 32;
  T lanes[kLanes];
  for (T& lane : lanes) lane = start;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  }
  for (int l = 0; i < n; ++i, ++l) lanes[l] = x[i] > lanes[l] ? x[i] : lanes[l];
  T top = start;
  for (T lane : lanes) top = lane > top ? lane : top;
  return top;
}

}  // namespace galrec
