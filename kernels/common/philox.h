#pragma once
// Philox4x32-10 [Salmon et al. 2011]: a counter-based generator. A random number is a pure function of
// (seed, step, stream, element), never of a thread or of time, so CPU, GPU, restarts and thread counts all agree.

#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/common/host_device.h"

namespace galrec {

/// Names one sequence of random numbers. `stream` separates uses within a step (a layer's dropout, a sampler, …).
struct PhiloxKey {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::uint32_t stream = 0;
};

/// The 128 random bits of counter block `block` of the key's sequence.
GALREC_HOST_DEVICE inline std::array<std::uint32_t, 4> philox(const PhiloxKey& key, std::uint64_t block) {
  constexpr std::uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u, kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
  std::uint32_t c2 = key.step, c3 = key.stream;
  std::uint32_t k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(kMul0) * c0;
    const std::uint64_t p1 = static_cast<std::uint64_t>(kMul1) * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

/// A sequential reader of one key's numbers, for host code that draws one after the other.
class PhiloxStream {
 public:
  explicit PhiloxStream(PhiloxKey key, std::uint64_t first_block = 0) : key_(key), block_(first_block) {}

  std::uint32_t next_u32() {
    if (used_ == 4) {
      bits_ = philox(key_, block_++);
      used_ = 0;
    }
    return bits_[used_++];
  }
  std::uint64_t next_u64() {
    const std::uint64_t low = next_u32();
    return low | static_cast<std::uint64_t>(next_u32()) << 32;
  }
  /// Uniform in [0, n), without modulo bias worth naming (n < 2^32: bias < n / 2^64).
  std::uint64_t below(std::uint64_t n) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next_u64()) * n) >> 64);
  }
  /// Uniform in [0, 1) with 53 bits.
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }
  /// Standard normal (Box-Muller; two uniforms per number).
  double normal() {
    const double u = 1.0 - uniform();  // (0, 1]
    const double v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  PhiloxKey key_;
  std::uint64_t block_;
  std::array<std::uint32_t, 4> bits_{};
  int used_ = 4;
};

}  // namespace galrec
