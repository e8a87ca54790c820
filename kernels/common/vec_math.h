#pragma once
// Elementary functions that compilers can vectorise. The float versions are polynomials (relative error a few ulp); the
// double versions call the C library, because double is the oracle.

#include <bit>
#include <cmath>
#include <cstdint>

namespace galrec::vec {

/// e^x. float: Cody-Waite reduction and a degree-6 polynomial, below 2 ulp on [-87, 88]; saturates to 0 and to a huge
/// finite value outside; NaN stays NaN. Lanes out of range compute garbage that is replaced last: clamping x first makes
/// GCC blend every intermediate value.
inline float exp(float x) {
  constexpr float kLow = -87.3f, kHigh = 88.3f, kHuge = 2.2290e38f;  // e^88.3
  constexpr float kLog2e = 1.44269504088896341f, kLn2Hi = 0.693145751953125f, kLn2Lo = 1.42860682030941723e-6f;
  // Adding 1.5 * 2^23 rounds to an integer and leaves that integer in the low bits: no conversion instruction.
  constexpr float kRound = 12582912.0f;
  const float t = x * kLog2e + kRound;
  const float n = t - kRound;
  const float r = (x - n * kLn2Hi) - n * kLn2Lo;
  // 1 + r + r^2 c(r), c interpolating at Chebyshev nodes of [-ln 2 / 2, ln 2 / 2]: relative error 1e-8.
  float p = 1.3926250831e-3f;
  p = p * r + 8.3632328837e-3f;
  p = p * r + 4.1666554213e-2f;
  p = p * r + 1.6666576666e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n by its exponent bits, n in [-126, 127] where the result is kept. Any bits will do for NaN: p carries it.
  const float scale = std::bit_cast<float>((std::bit_cast<std::uint32_t>(t) << 23) + 0x3f800000u);
  float y = p * scale;
  y = x > kHigh ? kHuge : y;
  return x < kLow ? 0.0f : y;
}
inline double exp(double x) { return std::exp(x); }

/// tanh through e^{2x}; float error below 3e-7 absolute.
inline float tanh(float x) {
  const float e = vec::exp(2.0f * x);
  return 1.0f - 2.0f / (e + 1.0f);
}
inline double tanh(double x) { return std::tanh(x); }

/// The error function. float: an odd polynomial below 1, 1 - e^{polynomial} up to 4; below 3 ulp, without a division.
inline float erf(float x) {
  const float a = std::fabs(x), z = x * x;
  float p = 7.85377665906e-5f;
  p = p * z - 8.01016796725e-4f;
  p = p * z + 5.18832476425e-3f;
  p = p * z - 2.68538103973e-2f;
  p = p * z + 1.12835851118e-1f;
  p = p * z - 3.76126258210e-1f;
  p = p * z + 1.12837916573f;
  float q = -2.16864936904e-5f;  // log erfc on [1, 4]
  q = q * a + 4.41333750943e-4f;
  q = q * a - 4.20455727044e-3f;
  q = q * a + 2.52082683492e-2f;
  q = q * a - 1.08418635607e-1f;
  q = q * a - 6.33219800251e-1f;
  q = q * a - 1.12957849151f;
  q = q * a + 1.88058966491e-4f;
  const float tail = 1.0f - vec::exp(q);
  const float outer = a > 4.0f ? 1.0f : tail;
  return a < 1.0f ? x * p : std::copysign(outer, x);
}
inline double erf(double x) { return std::erf(x); }

/// 1 / (1 + e^-x).
template <class T>
inline T sigmoid(T x) {
  return T(1) / (T(1) + vec::exp(-x));
}

/// log(1 + e^x) without overflow.
template <class T>
inline T softplus(T x) {
  return (x > T(0) ? x : T(0)) + std::log1p(vec::exp(x > T(0) ? -x : x));
}

}  // namespace galrec::vec
