#pragma once
// Elementary functions that compilers can vectorise. The float versions are polynomials (relative error a few ulp); the
// double versions call the C library, because double is the oracle.

#include <bit>
#include <cmath>
#include <cstdint>

namespace galrec::vec {

/// e^x. float: Cody-Waite reduction and a degree-6 polynomial, below 2 ulp on [-87, 88]; saturates to 0 and to a huge
/// finite value outside; NaN stays NaN.
inline float exp(float x) {
  constexpr float kLog2e = 1.44269504088896341f, kLn2Hi = 0.693145751953125f, kLn2Lo = 1.42860682030941723e-6f;
  const float clamped = x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x);  // NaN passes both comparisons
  const float n = std::nearbyint(clamped * kLog2e);
  const float r = (clamped - n * kLn2Hi) - n * kLn2Lo;
  float p = 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // 2^n by its exponent bits; n is in [-126, 127]. An integer conversion of NaN is harmless: p carries the NaN.
  const std::int32_t e = static_cast<std::int32_t>(n == n ? n : 0.0f);
  const float scale = std::bit_cast<float>((e + 127) << 23);
  const float y = p * scale;
  return x < -87.3f ? 0.0f : y;
}
inline double exp(double x) { return std::exp(x); }

/// tanh through e^{2x}; float error below 3e-7 absolute.
inline float tanh(float x) {
  const float e = vec::exp(2.0f * x);
  return 1.0f - 2.0f / (e + 1.0f);
}
inline double tanh(double x) { return std::tanh(x); }

/// erf. float: Abramowitz & Stegun 7.1.26 for |x| >= 0.5 (its error of 1.5e-7 is absolute, and erf is above 0.5 there), and
/// the Taylor series below, so that small arguments keep their relative accuracy. Absolute error below 3e-7.
inline float erf(float x) {
  const float a = x < 0 ? -x : x;
  const float t = 1.0f / (1.0f + 0.3275911f * a);
  const float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
  const float far = 1.0f - p * vec::exp(-a * a);
  const float q = a * a;
  const float near = a * (1.1283791671f + q * (-0.3761263890f + q * (0.1128379167f + q * (-0.0268661706f + q * (5.2239776e-3f - q * 8.5483269e-4f)))));
  const float y = a < 0.5f ? near : far;
  return x < 0 ? -y : y;
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
