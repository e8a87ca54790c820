#pragma once
// Column sums over rows with fixed bits: every slab of kSlabRows rows is summed by one thread into its own partial row,
// and the partial rows are added in slab order.

#include <algorithm>
#include <cstdint>

#include "kernels/common/buffer.h"
#include "kernels/common/view.h"

namespace galrec {

inline constexpr std::int64_t kSlabRows = 128;

/// Rows of C elements that make a chunk worth a thread: about 64 KB of floats.
inline std::int64_t rows_per_chunk(std::int64_t cols) { return std::clamp<std::int64_t>(16384 / std::max<std::int64_t>(cols, 1), 1, 1024); }

template <class T>
class RowSlabs {
 public:
  RowSlabs(Arena& arena, std::int64_t rows, std::int64_t cols)
      : slabs_((rows + kSlabRows - 1) / kSlabRows), cols_(cols), partial_(arena.matrix<T>(std::max<std::int64_t>(slabs_, 1), cols)) {}

  /// The zeroed partial row of slab s; sum rows [s * kSlabRows, …) into it.
  T* clear(std::int64_t s) const {
    std::fill_n(partial_.row(s), cols_, T(0));
    return partial_.row(s);
  }
  /// out = sum of the slabs (+ out).
  void reduce(T* out, Accumulate accumulate) const {
    if (accumulate == Accumulate::kOverwrite) std::fill_n(out, cols_, T(0));
    for (std::int64_t s = 0; s < slabs_; ++s) {
      const T* row = partial_.row(s);
#pragma omp simd
      for (std::int64_t i = 0; i < cols_; ++i) out[i] += row[i];
    }
  }

 private:
  std::int64_t slabs_, cols_;
  View<T, 2> partial_;
};

/// to = from (+ to), elementwise.
template <class T>
inline void add_or_store(T* to, const T* from, std::int64_t n, bool add) {
  if (add) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
  } else {
    std::copy_n(from, n, to);
  }
}

}  // namespace galrec
