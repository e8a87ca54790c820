#pragma once
// The activations on one fp32 value, for kernels: the value, and value and slope together because they share what is expensive.

#include "kernels/common/device.h"

namespace galrec {

struct ValueSlope {
  float value, slope;
};

struct Identity {
  __device__ static __forceinline__ float value(float x) { return x; }
  __device__ static __forceinline__ ValueSlope both(float x) { return {x, 1.0f}; }
};

struct Relu {
  __device__ static __forceinline__ float value(float x) { return x < 0.0f ? 0.0f : x; }  // a NaN stays one
  __device__ static __forceinline__ ValueSlope both(float x) { return {value(x), x > 0.0f ? 1.0f : 0.0f}; }
};

// (1 + tanh u) / 2 = 1 / (1 + e^{-2u}), u = sqrt(2/pi) (x + 0.044715 x^3): one exponential, one division (__fdividef: 2 ulp, and
// half the instructions of a rounded one, which bf16 operands would leave waiting for the arithmetic).
struct GeluTanh {
  struct Gate {
    float bounded, square, gate;
  };
  __device__ static __forceinline__ Gate gate(float x) {
    // Beyond 32 the gate is 0 or 1; the bound keeps x^2 finite. Written so that a NaN stays one.
    const float low = x < -32.0f ? -32.0f : x;
    const float bounded = low > 32.0f ? 32.0f : low;
    const float square = bounded * bounded;
    const float exponent = kTwoRootTwoOverPi * bounded * (1.0f + kCubic * square);
    return {bounded, square, __fdividef(1.0f, 1.0f + expf(-exponent))};
  }
  __device__ static __forceinline__ float value(float x) { return x * gate(x).gate; }
  __device__ static __forceinline__ ValueSlope both(float x) {
    const Gate g = gate(x);
    const float slope = kTwoRootTwoOverPi * (1.0f + 3.0f * kCubic * g.square);
    return {x * g.gate, g.gate + g.bounded * g.gate * (1.0f - g.gate) * slope};
  }

  static constexpr float kTwoRootTwoOverPi = 1.5957691216057308f, kCubic = 0.044715f;
};

struct GeluErf {
  // 1 + erf cancels for negative x; erfc does not.
  __device__ static __forceinline__ float share(float x) { return 0.5f * erfcf(-0.70710678118654752f * x); }
  __device__ static __forceinline__ float value(float x) { return x * share(x); }
  __device__ static __forceinline__ ValueSlope both(float x) {
    const float s = share(x);
    return {x * s, s + x * (0.39894228040143268f * expf(-0.5f * x * x))};
  }
};

}  // namespace galrec
