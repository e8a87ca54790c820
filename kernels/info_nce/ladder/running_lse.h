#pragma once
// The running log-sum-exp of the streaming rungs: the largest score so far, and the sum of all exponentials measured from it.

#include "kernels/common/mma.h"

namespace galrec::ladder {

inline constexpr float kLog2E = 1.4426950408889634f;

struct RunningLse {
  float top = -INFINITY;
  float sum = 0;

  /// Another score; -inf where it is masked.
  __device__ __forceinline__ void add(float score) { add(RunningLse{score, score == -INFINITY ? 0.0f : 1.0f}); }
  /// What others have summed up.
  __device__ __forceinline__ void add(const RunningLse& other) {
    const float larger = fmaxf(top, other.top);
    if (larger == -INFINITY) return;  // nothing yet: there is no distance from -inf to -inf
    sum = sum * exp2_approx((top - larger) * kLog2E) + other.sum * exp2_approx((other.top - larger) * kLog2E);
    top = larger;
  }
  __device__ __forceinline__ float value() const { return top + logf(sum); }
};

}  // namespace galrec::ladder
