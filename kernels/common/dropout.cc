#include "kernels/common/dropout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/common/simd.h"

namespace galrec {

namespace {

constexpr int kLanes = 32;  // Philox blocks computed side by side
constexpr int kBlockElements = 8;

using Words = simd::Vec<std::uint64_t>;

// Philox of the counters, one per lane; the 128 bits of lane l end up in bits[2 l], bits[2 l + 1]. A state word lives in the
// low half of a 64-bit lane, as the multiplier wants it; what the rounds leave in the high halves is never read.
void philox_lanes(const PhiloxKey& key, const std::uint64_t (&counters)[kLanes], std::uint64_t (&bits)[2 * kLanes]) {
  constexpr std::uint64_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u, kLow = 0xffffffffu;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  constexpr int kWidth = simd::kLanes<std::uint64_t>, kVectors = kLanes / kWidth;
  Words c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    simd::load<std::uint64_t>(c0[v], counters + v * kWidth);
    c1[v] = c0[v] >> 32;
    c2[v] = Words{} + key.step;
    c3[v] = Words{} + key.stream;
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < kVectors; ++v) {
      const Words p0 = (c0[v] & kLow) * kMul0, p1 = (c2[v] & kLow) * kMul1;
      c0[v] = (p1 >> 32) ^ c1[v] ^ std::uint64_t{k0};
      c2[v] = (p0 >> 32) ^ c3[v] ^ std::uint64_t{k1};
      c1[v] = p1;
      c3[v] = p0;
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  for (int v = 0; v < kVectors; ++v) {
    const Words low = (c0[v] & kLow) | (c1[v] << 32), high = (c2[v] & kLow) | (c3[v] << 32);
    Words first, second;
    simd::interleave<std::uint64_t>(first, second, low, high);
    simd::store<std::uint64_t>(bits + 2 * v * kWidth, first);
    simd::store<std::uint64_t>(bits + (2 * v + 1) * kWidth, second);
  }
}

// Element e of a block takes half e % 2, low first, of word e / 2: 16 bits at a time, from the lowest up.
template <class T>
void multipliers_of(const std::uint64_t (&bits)[2 * kLanes], std::uint32_t threshold, T scale, T* __restrict out) {
  std::uint16_t halves[kBlockElements * kLanes];
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(halves, bits, sizeof(halves));
  } else {
    for (int e = 0; e < kBlockElements * kLanes; ++e) halves[e] = static_cast<std::uint16_t>(bits[e / 4] >> (16 * (e % 4)));
  }
  for (int e = 0; e < kBlockElements * kLanes; ++e) out[e] = halves[e] < threshold ? T(0) : scale;
}

}  // namespace

template <class T>
void dropout_multiplier_rows(const Dropout& dropout, std::uint64_t first, std::uint64_t row_step, std::int64_t rows, std::int64_t n,
                             T* out, std::int64_t ld) {
  GALREC_CHECK(first % kBlockElements == 0 && row_step % kBlockElements == 0, "element {}, row step {}: not whole blocks of 8", first, row_step);
  if (rows <= 0 || n <= 0) return;
  const std::uint32_t threshold = dropout.threshold();
  const T scale = static_cast<T>(dropout.scale());
  const std::int64_t blocks = (n + kBlockElements - 1) / kBlockElements;
  std::uint64_t counter = first / kBlockElements;  // of the next block to enqueue: (row, block) in row-major order
  std::int64_t row = 0, block = 0;
  std::int64_t out_row = 0, out_column = 0;  // of the next block to write
  for (std::int64_t left = rows * blocks; left > 0; left -= kLanes) {
    std::uint64_t counters[kLanes], bits[2 * kLanes];
    const int lanes = static_cast<int>(std::min<std::int64_t>(kLanes, left));
    const auto next_row = [&] {
      block = 0;
      counter = (first + static_cast<std::uint64_t>(++row) * row_step) / kBlockElements;
    };
    if (blocks - block >= kLanes) {  // one run inside a row
      for (int l = 0; l < kLanes; ++l) counters[l] = counter + static_cast<std::uint64_t>(l);
      counter += kLanes;
      block += kLanes;
      if (block == blocks) next_row();
    } else {
      for (int l = 0; l < kLanes; ++l) {
        counters[l] = counter++;
        if (++block == blocks) next_row();
      }
    }
    philox_lanes(dropout.key, counters, bits);
    if (n - out_column * kBlockElements >= kBlockElements * kLanes) {  // straight into the row
      multipliers_of(bits, threshold, scale, out + out_row * ld + out_column * kBlockElements);
      out_column += kLanes;
      if (out_column == blocks) {
        out_column = 0;
        ++out_row;
      }
      continue;
    }
    T group[kBlockElements * kLanes];
    multipliers_of(bits, threshold, scale, group);
    // Runs of consecutive blocks of one row.
    for (int l = 0; l < lanes;) {
      const std::int64_t run = std::min<std::int64_t>(lanes - l, blocks - out_column);
      const std::int64_t elements = std::min<std::int64_t>(run * kBlockElements, n - out_column * kBlockElements);
      std::copy_n(group + l * kBlockElements, elements, out + out_row * ld + out_column * kBlockElements);
      l += static_cast<int>(run);
      out_column += run;
      if (out_column == blocks) {
        out_column = 0;
        ++out_row;
      }
    }
  }
}

template <class T>
void dropout_multipliers(const Dropout& dropout, std::uint64_t first, std::int64_t n, T* out) {
  dropout_multiplier_rows<T>(dropout, first, 0, 1, n, out, 0);
}

template void dropout_multipliers<float>(const Dropout&, std::uint64_t, std::int64_t, float*);
template void dropout_multipliers<double>(const Dropout&, std::uint64_t, std::int64_t, double*);
template void dropout_multiplier_rows<float>(const Dropout&, std::uint64_t, std::uint64_t, std::int64_t, std::int64_t, float*, std::int64_t);
template void dropout_multiplier_rows<double>(const Dropout&, std::uint64_t, std::uint64_t, std::int64_t, std::int64_t, double*, std::int64_t);

}  // namespace galrec
