#pragma once
// What the normalisations share: the residual addition before the statistics, and where the gradient goes after them.

#include "kernels/common/norm_slabs.h"
#include "kernels/common/rows.h"

namespace galrec {

/// sum = residual + multipliers * x, row n.
template <class T>
void add_residual_row(std::int64_t n, View<T, 2> sum, ConstView<T, 2> x, ConstView<T, 2> residual, RowMask<T>& mask) {
  for_row_segments(x.cols(), [&](std::int64_t first, std::int64_t count) {
    const T* m = mask.at(n, first, count);
    const T* from = x.row(n) + first;
    const T* base = residual.row(n) + first;
    T* out = sum.row(n) + first;
#pragma omp simd
    for (std::int64_t c = 0; c < count; ++c) out[c] = base[c] + from[c] * m[c];
  });
}

/// The outputs of a norm's backward that are as large as its input. All but the accumulation modes may be empty.
template <class T>
struct NormGradient {
  View<T, 2> dx, dresidual;
  ConstView<T, 2> dsum;
  Accumulate dx_accumulate, dresidual_accumulate;

  bool wanted() const { return dx || dresidual; }

  void check(std::int64_t rows, std::int64_t cols) const {
    const auto fits = [&](const auto& v) { return !v || (v.rows() == rows && v.cols() == cols); };
    GALREC_CHECK(fits(dx), "dx ({}, {}), sum ({}, {})", dx.rows(), dx.cols(), rows, cols);
    GALREC_CHECK(fits(dresidual), "dresidual ({}, {}), sum ({}, {})", dresidual.rows(), dresidual.cols(), rows, cols);
    GALREC_CHECK(fits(dsum), "dsum ({}, {}), sum ({}, {})", dsum.rows(), dsum.cols(), rows, cols);
    GALREC_CHECK(!dsum || dsum.data != dresidual.data || dresidual_accumulate == Accumulate::kOverwrite,
                 "dresidual is dsum: it cannot be added to");
    GALREC_CHECK(!dsum || dsum.data != dx.data || dx_accumulate == Accumulate::kOverwrite,
                 "dx is dsum: it cannot be added to");
  }

  /// Sends d (the gradient of columns [first, first + count) of row n of the norm's input; overwritten) on its two
  /// ways. dsum is read before anything is written, so that either output may be dsum itself.
  void send(std::int64_t n, std::int64_t first, std::int64_t count, T* d, RowMask<T>& mask) const {
    if (dsum) {
      const T* from = dsum.row(n) + first;
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) d[c] += from[c];
    }
    if (dresidual) {
      T* out = dresidual.row(n) + first;
      if (dresidual_accumulate == Accumulate::kAdd) {
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) out[c] += d[c];
      } else {
        std::copy_n(d, count, out);
      }
    }
    if (!dx) return;
    const T* m = mask.at(n, first, count);
    T* out = dx.row(n) + first;
    if (dx_accumulate == Accumulate::kAdd) {
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) out[c] += d[c] * m[c];
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c) out[c] = d[c] * m[c];
    }
  }
};

}  // namespace galrec
