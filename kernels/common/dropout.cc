#include "kernels/common/dropout.h"

#include <algorithm>

namespace galrec {

namespace {

constexpr int kLanes = 32;  // Philox blocks computed side by side: two AVX-512 vectors of 32-bit words

// kLanes consecutive counter blocks; word w of block l is bits[w][l]. The loops over lanes vectorise.
void philox_lanes(const PhiloxKey& key, std::uint64_t first_block, std::uint32_t (&bits)[4][kLanes]) {
  constexpr std::uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u, kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  std::uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(l);
    c0[l] = static_cast<std::uint32_t>(block);
    c1[l] = static_cast<std::uint32_t>(block >> 32);
    c2[l] = key.step;
    c3[l] = key.stream;
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) {
      const std::uint64_t p0 = static_cast<std::uint64_t>(kMul0) * c0[l];
      const std::uint64_t p1 = static_cast<std::uint64_t>(kMul1) * c2[l];
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<std::uint32_t>(p1);
      c3[l] = static_cast<std::uint32_t>(p0);
      c0[l] = n0;
      c2[l] = n2;
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  for (int l = 0; l < kLanes; ++l) {
    bits[0][l] = c0[l];
    bits[1][l] = c1[l];
    bits[2][l] = c2[l];
    bits[3][l] = c3[l];
  }
}

}  // namespace

template <class T>
void dropout_multipliers(const Dropout& dropout, std::uint64_t first, std::int64_t n, T* out) {
  GALREC_CHECK(first % 8 == 0, "element {} does not start a block of 8", first);
  const std::uint32_t threshold = dropout.threshold();
  const T scale = static_cast<T>(dropout.scale());
  std::uint32_t bits[4][kLanes];
  T group[8 * kLanes];
  for (std::int64_t done = 0; done < n; done += 8 * kLanes) {
    philox_lanes(dropout.key, (first + static_cast<std::uint64_t>(done)) / 8, bits);
    // Element 8 l + 2 w + h of the group takes half h of word w of block l.
    for (int l = 0; l < kLanes; ++l) {
      for (int w = 0; w < 4; ++w) {
        group[8 * l + 2 * w] = (bits[w][l] & 0xffffu) < threshold ? T(0) : scale;
        group[8 * l + 2 * w + 1] = (bits[w][l] >> 16) < threshold ? T(0) : scale;
      }
    }
    std::copy_n(group, std::min<std::int64_t>(8 * kLanes, n - done), out + done);
  }
}

template void dropout_multipliers<float>(const Dropout&, std::uint64_t, std::int64_t, float*);
template void dropout_multipliers<double>(const Dropout&, std::uint64_t, std::int64_t, double*);

}  // namespace galrec
