#pragma once
// Dropout without stored masks: element e of a tensor is kept or dropped by 16 bits of Philox block e / 8, so forward
// and backward regenerate the same mask inside the loop that needs it.

#include <cstdint>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec {

struct Dropout {
  double rate = 0;  // probability of dropping; rounded to 1 / 65536
  PhiloxKey key{};
  const std::uint32_t* step_at = nullptr;  // CUDA: device memory that holds key.step, for a step that is replayed

  bool active() const { return threshold() > 0; }
  /// An element is dropped when its 16 bits are below this.
  std::uint32_t threshold() const {
    GALREC_CHECK(rate >= 0 && rate < 1, "dropout rate {} is not in [0, 1)", rate);
    return static_cast<std::uint32_t>(rate * 65536.0 + 0.5);
  }
  /// What kept elements are multiplied by: 1 / (share kept).
  double scale() const { return 65536.0 / (65536.0 - threshold()); }
};

/// Writes the multipliers (0 or dropout.scale()) of elements [first, first + n) to out; `first` must be a multiple of 8.
/// Vectorised over blocks; about one cycle per element with AVX-512.
template <class T>
void dropout_multipliers(const Dropout& dropout, std::uint64_t first, std::int64_t n, T* out);

/// The same for a block of rows: element (r, j), j < n, is number first + r * row_step + j and goes to out[r * ld + j].
/// first and row_step are multiples of 8. Short rows share the vectors that one row could not fill.
template <class T>
void dropout_multiplier_rows(const Dropout& dropout, std::uint64_t first, std::uint64_t row_step, std::int64_t rows, std::int64_t n,
                             T* out, std::int64_t ld);

/// Row stride, in elements, of the mask of an (N, C) matrix: rows start at multiples of 8 so that each row can be
/// regenerated alone. Element (n, c) of a matrix has index n * dropout_row_stride(C) + c.
inline std::uint64_t dropout_row_stride(std::int64_t cols) { return (static_cast<std::uint64_t>(cols) + 7) / 8 * 8; }

}  // namespace galrec
