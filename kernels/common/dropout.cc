#include "kernels/common/dropout.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/simd.h"

namespace galrec {

namespace {

constexpr int kLanes = 32;  // Philox blocks computed side by side: two AVX-512 vectors of 32-bit words
constexpr int kBlockElements = 8;

// Philox of the counters (low, high, step, stream), one per lane. Lane l's four words end up in words[4 l .. 4 l + 3].
void philox_lanes(const PhiloxKey& key, const std::uint32_t (&low)[kLanes], const std::uint32_t (&high)[kLanes],
                  std::uint32_t (&words)[4 * kLanes]) {
  constexpr std::uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u, kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  std::uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    c0[l] = low[l];
    c1[l] = high[l];
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
  // (4, lanes) to (lanes, 4): interleave words 0 with 2 and 1 with 3, then the results.
  constexpr int kWidth = simd::kLanes<std::uint32_t>;
  for (int l = 0; l < kLanes; l += kWidth) {
    simd::Vec<std::uint32_t> x[4], even[2], odd[2], out[4];
    simd::load<std::uint32_t>(x[0], c0 + l);
    simd::load<std::uint32_t>(x[1], c1 + l);
    simd::load<std::uint32_t>(x[2], c2 + l);
    simd::load<std::uint32_t>(x[3], c3 + l);
    simd::interleave<std::uint32_t>(even[0], even[1], x[0], x[2]);
    simd::interleave<std::uint32_t>(odd[0], odd[1], x[1], x[3]);
    simd::interleave<std::uint32_t>(out[0], out[1], even[0], odd[0]);
    simd::interleave<std::uint32_t>(out[2], out[3], even[1], odd[1]);
    for (int v = 0; v < 4; ++v) simd::store<std::uint32_t>(words + 4 * l + v * kWidth, out[v]);
  }
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
    std::uint32_t low[kLanes], high[kLanes], words[4 * kLanes];
    const int lanes = static_cast<int>(std::min<std::int64_t>(kLanes, left));
    if (blocks - block >= kLanes) {  // one run inside a row
      for (int l = 0; l < kLanes; ++l) {
        low[l] = static_cast<std::uint32_t>(counter + static_cast<std::uint64_t>(l));
        high[l] = static_cast<std::uint32_t>((counter + static_cast<std::uint64_t>(l)) >> 32);
      }
      counter += kLanes;
      block += kLanes;
    } else {
      for (int l = 0; l < kLanes; ++l) {
        low[l] = static_cast<std::uint32_t>(counter);
        high[l] = static_cast<std::uint32_t>(counter >> 32);
        ++counter;
        if (++block == blocks) {
          block = 0;
          counter = (first + static_cast<std::uint64_t>(++row) * row_step) / kBlockElements;
        }
      }
    }
    if (block == blocks) {
      block = 0;
      counter = (first + static_cast<std::uint64_t>(++row) * row_step) / kBlockElements;
    }
    philox_lanes(dropout.key, low, high, words);
    // Element e of a block is half e % 2, low first, of word e / 2.
    std::uint16_t halves[kBlockElements * kLanes];
    for (int w = 0; w < 4 * kLanes; ++w) {
      halves[2 * w] = static_cast<std::uint16_t>(words[w]);
      halves[2 * w + 1] = static_cast<std::uint16_t>(words[w] >> 16);
    }
    T group[kBlockElements * kLanes];
    for (int e = 0; e < kBlockElements * kLanes; ++e) group[e] = halves[e] < threshold ? T(0) : scale;
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
