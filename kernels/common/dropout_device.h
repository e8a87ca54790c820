#pragma once
// The masks of kernels/common/dropout.h inside CUDA kernels: the same bits for the same element, so that the CPU and the GPU
// drop the same ones. One Philox block serves 8 consecutive elements; a kernel asks for as many of them as a thread holds.

#include <cstdint>

#include "kernels/common/device.h"
#include "kernels/common/dropout.h"

namespace galrec {

/// What a kernel is passed of a Dropout. Inactive: threshold 0, and every multiplier is 1.
struct DropoutMask {
  PhiloxKey key{};
  const std::uint32_t* step_at = nullptr;  // where key.step is read from, if not null
  std::uint32_t threshold = 0;  // an element is dropped when its 16 bits are below this
  float scale = 1.0f;           // what kept elements are multiplied by

  DropoutMask() = default;
  /// CheckError for a rate outside [0, 1).
  explicit DropoutMask(const Dropout& dropout)
      : key(dropout.key), step_at(dropout.step_at), threshold(dropout.threshold()), scale(static_cast<float>(dropout.scale())) {}

  GALREC_HOST_DEVICE bool active() const { return threshold != 0; }
};

/// The bits of elements [8 block, 8 block + 8): element i in half i % 2 (low first) of word i / 2.
struct DropoutBits {
  std::uint32_t word[4];
};
__device__ __forceinline__ DropoutBits dropout_bits(const DropoutMask& mask, std::uint64_t block) {
  PhiloxKey key = mask.key;
  if (mask.step_at != nullptr) key.step = *mask.step_at;
  const auto bits = philox(key, block);
  return {{bits[0], bits[1], bits[2], bits[3]}};
}

/// The multiplier (0 or mask.scale) of the element in the low or in the high half of a word.
__device__ __forceinline__ float dropout_low(const DropoutMask& mask, std::uint32_t word) {
  return (word & 0xffffu) < mask.threshold ? 0.0f : mask.scale;
}
__device__ __forceinline__ float dropout_high(const DropoutMask& mask, std::uint32_t word) {
  return word >> 16 < mask.threshold ? 0.0f : mask.scale;
}

/// The multipliers of elements [first, first + Count), Count one of 1, 2, 4, 8 and `first` a multiple of it. Threads that hold
/// less than 8 elements compute the block that they share each for itself: about 60 integer instructions.
template <int Count>
__device__ __forceinline__ void dropout_multipliers(const DropoutMask& mask, std::uint64_t first, float (&out)[Count]) {
  static_assert(Count == 1 || Count == 2 || Count == 4 || Count == 8);
  const DropoutBits bits = dropout_bits(mask, first / 8);
  if constexpr (Count == 8) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = dropout_low(mask, bits.word[i]);
      out[2 * i + 1] = dropout_high(mask, bits.word[i]);
    }
  } else if constexpr (Count == 4) {
    const bool upper = (first & 4) != 0;  // selected, not indexed: registers have no addresses
    const std::uint32_t a = upper ? bits.word[2] : bits.word[0], b = upper ? bits.word[3] : bits.word[1];
    out[0] = dropout_low(mask, a);
    out[1] = dropout_high(mask, a);
    out[2] = dropout_low(mask, b);
    out[3] = dropout_high(mask, b);
  } else {
    const std::uint32_t a = (first & 2) != 0 ? bits.word[1] : bits.word[0], b = (first & 2) != 0 ? bits.word[3] : bits.word[2];
    const std::uint32_t word = (first & 4) != 0 ? b : a;
    if constexpr (Count == 2) {
      out[0] = dropout_low(mask, word);
      out[1] = dropout_high(mask, word);
    } else {
      out[0] = (first & 1) != 0 ? dropout_high(mask, word) : dropout_low(mask, word);
    }
  }
}

}  // namespace galrec
