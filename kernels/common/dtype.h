#pragma once
// bfloat16 as storage: the upper half of a float, rounded to nearest even.

#include <bit>
#include <cstdint>

#include "kernels/common/host_device.h"

namespace galrec {

struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  GALREC_HOST_DEVICE explicit bfloat16(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const std::uint32_t u = std::bit_cast<std::uint32_t>(value);
    // NaN keeps its sign and becomes quiet: rounding could otherwise carry it into infinity.
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<std::uint16_t>((u >> 16) | 0x40u)
                                           : static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
#endif
  }
  GALREC_HOST_DEVICE explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
  GALREC_HOST_DEVICE explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

/// The type of sums, statistics, losses, the residual stream and gradients of parameters beside storage of type T.
template <class T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<bfloat16> {
  using type = float;
};
template <class T>
using Acc = typename Accumulator<T>::type;

/// How products of fp32 matrices are computed. The master weights and all other arithmetic stay fp32 (or double). kTf32 is CUDA's;
/// the CPU takes it for kFull.
enum class GemmPrecision { kFull, kBf16, kTf32 };

}  // namespace galrec
