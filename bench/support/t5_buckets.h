#pragma once
// T5's bidirectional relative position buckets (32, up to distance 128), for benchmarks of attention below the layers.

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace galrec::bench {

/// (2 * 128 + 1): the bucket of each clamped distance, as layers/t5/relative_buckets.h.
inline std::vector<std::int32_t> t5_bucket_index() {
  constexpr std::int32_t kMax = 128, kExact = 8,
                         kEdges[] = {12, 16, 23, 32, 46, 64, 91};  // where the logarithmic buckets 9, 10, … begin
  std::vector<std::int32_t> index;
  for (std::int32_t d = -kMax; d <= kMax; ++d) {
    const std::int32_t far = std::abs(d);
    std::int32_t bucket = far < kExact ? far : kExact;
    for (const std::int32_t edge : kEdges) bucket += far >= edge;
    index.push_back(bucket + (d > 0 ? 16 : 0));
  }
  return index;
}

}  // namespace galrec::bench
