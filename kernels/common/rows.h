#pragma once
// What row-wise kernels share: the size of a chunk, sums in a fixed order, dropout multipliers of rows.

#include <algorithm>
#include <cstdint>

#include "kernels/common/dropout.h"
#include "kernels/common/parallel.h"
#include "kernels/common/simd.h"
#include "kernels/common/view.h"

namespace galrec {

/// Rows per parallel_for chunk, such that a chunk holds about 64 KiB of one operand: small inputs stay on one thread.
template <class T>
std::int64_t row_grain(std::int64_t cols) {
  return std::max<std::int64_t>(1, 65536 / (std::max<std::int64_t>(cols, 1) * static_cast<std::int64_t>(sizeof(T))));
}

template <class A, class B>
bool same_shape(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols();
}

/// Sum of f(i), i in [0, n), over 128 bytes of interleaved partial sums and then as a tree: vectorises, and the order
/// of additions depends on n alone (a compiler's own reduction may peel for alignment).
template <class T, class F>
T lane_sum(std::int64_t n, F&& f) {
  constexpr int kLanes = 2 * simd::kLanes<T>;
  T lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) lanes[l] += f(i + l);
  }
  for (int l = 0; i + l < n; ++l) lanes[l] += f(i + l);
  simd::Vec<T> low, high;
  simd::load<T>(low, lanes);
  simd::load<T>(high, lanes + simd::kLanes<T>);
  low += high;
  return simd::sum_lanes<T>(low);
}

/// Longest piece of a row that kernels hold in a stack buffer.
inline constexpr std::int64_t kRowSegment = 2048;

/// Calls f(first, count) for consecutive pieces of at most kRowSegment of [0, cols).
template <class F>
void for_row_segments(std::int64_t cols, F&& f) {
  for (std::int64_t first = 0; first < cols; first += kRowSegment) f(first, std::min(kRowSegment, cols - first));
}

/// Dropout multipliers of the rows of an (N, cols) matrix, regenerated for as many rows at a time as fit a stack
/// buffer. Without dropout they are ones, so that loops need no second form. Rows are asked for in ascending order,
/// each from one thread; `end_row` bounds what is generated ahead.
template <class T>
class RowMask {
 public:
  RowMask(const Dropout& dropout, std::int64_t cols, std::int64_t end_row)
      : dropout_(dropout),
        active_(dropout.active()),
        stride_(static_cast<std::int64_t>(dropout_row_stride(cols))),
        end_(stride_ * end_row),
        batch_(stride_ <= kElements ? kElements / std::max<std::int64_t>(stride_, 1) * stride_ : kRowSegment) {
    if (!active_) std::fill_n(multipliers_, std::min(kRowSegment, cols), T(1));
  }

  /// Multipliers of columns [first, first + count) of `row`: a piece that for_row_segments() gives.
  const T* at(std::int64_t row, std::int64_t first, std::int64_t count) {
    if (!active_) return multipliers_;
    const std::int64_t element = row * stride_ + first;
    if (element < from_ || element + count > to_) {
      from_ = element;
      to_ = std::min(element + batch_, end_);
      dropout_multipliers<T>(dropout_, static_cast<std::uint64_t>(from_), to_ - from_, multipliers_);
    }
    return multipliers_ + (element - from_);
  }

 private:
  static constexpr std::int64_t kElements = 2 * kRowSegment;

  const Dropout& dropout_;
  bool active_;
  std::int64_t stride_, end_, batch_, from_ = 0, to_ = 0;
  alignas(kAlignment) T multipliers_[kElements];
};

/// out (+)= sum over the rows of `slabs`, in row order.
template <class T>
void sum_slabs(CpuContext& ctx, View<T, 1> out, View<T, 2> slabs, Accumulate accumulate) {
  constexpr std::int64_t kColumns = 256;
  parallel_for(ctx, out.extent(0), kColumns, [&](std::int64_t begin, std::int64_t end, int) {
    if (accumulate == Accumulate::kOverwrite) std::fill(out.data + begin, out.data + end, T(0));
    for (std::int64_t s = 0; s < slabs.rows(); ++s) {
      const T* slab = slabs.row(s);
#pragma omp simd
      for (std::int64_t c = begin; c < end; ++c) out.data[c] += slab[c];
    }
  });
}

}  // namespace galrec
