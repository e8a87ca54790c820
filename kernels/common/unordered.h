#pragma once
// What order costs (goal G15): GALREC_UNORDERED=ON builds variants that add partial sums as they come, by atomics on floats, to be
// timed beside the build that everybody uses. The only file with such atomics; bits of that build differ from run to run.

#include "kernels/common/device.h"

#if defined(GALREC_UNORDERED) && !defined(__CUDACC__)
#include <atomic>
#endif

namespace galrec {

#if defined(GALREC_UNORDERED)
inline constexpr bool kUnordered = true;
#else
inline constexpr bool kUnordered = false;
#endif

/// *p += value, whoever else adds. Does not compile where kUnordered is false.
template <class F>
__device__ __forceinline__ void add_unordered([[maybe_unused]] F* p, [[maybe_unused]] F value) {
  static_assert(kUnordered && sizeof(F) == sizeof(float), "the default build has no atomics on floats");
#if defined(GALREC_UNORDERED) && defined(__CUDACC__)
  atomicAdd(p, value);
#elif defined(GALREC_UNORDERED)
  std::atomic_ref<F> cell(*p);
  F old = cell.load(std::memory_order_relaxed);
  while (!cell.compare_exchange_weak(old, old + value, std::memory_order_relaxed)) {
  }
#endif
}

/// A partial sum to its place of its own; unordered, to the sum itself.
__device__ __forceinline__ void put_partial(float* p, float value) {
  if constexpr (kUnordered) {
    add_unordered(p, value);
  } else {
    *p = value;
  }
}

}  // namespace galrec
