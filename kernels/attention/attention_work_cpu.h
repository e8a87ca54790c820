#pragma once
// What forward and backward attention share: the checks, the work list, the bias lines and the score strip.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/common/parallel.h"
#include "kernels/common/simd.h"
#include "kernels/common/vec_math.h"
#include "kernels/gemm/register_block_cpu.h"

namespace galrec::attention_detail {

inline constexpr std::int64_t kMaxKeys = 4096;       // the row stride of the dropout mask
inline constexpr std::int64_t kStripElements = 32768;  // a strip of scores: 128 kB of floats, an eighth of a usual L2

template <class T>
std::int64_t padded(std::int64_t n) {
  constexpr std::int64_t kL = simd::kLanes<T>;
  return (n + kL - 1) / kL * kL;
}

/// Rows of a sequence whose scores are in memory at a time, for a padded row of that many keys.
inline std::int64_t strip_rows(std::int64_t padded_keys) {
  constexpr std::int64_t kStep = detail::kBlockRows;
  return std::max(kStep, kStripElements / std::max<std::int64_t>(padded_keys, 1) / kStep * kStep);
}

/// The checked shape of one call.
struct Problem {
  std::int64_t batch, heads, dim;
  std::int64_t max_q = 0, max_k = 0;  // longest sequence
  const std::int32_t *cu_q, *cu_k;
  AttentionOptions options;

  std::int64_t queries(std::int64_t b) const { return cu_q[b + 1] - cu_q[b]; }
  std::int64_t keys(std::int64_t b) const { return cu_k[b + 1] - cu_k[b]; }
  /// Keys that query row i of a sequence with n keys may see.
  std::int64_t visible(std::int64_t i, std::int64_t n) const {
    return options.mask == AttentionMask::kCausal ? std::min(i + 1, n) : n;
  }
};

Problem check_problem(const std::array<std::int64_t, 2>& q, const std::array<std::int64_t, 2>& k, const std::array<std::int64_t, 2>& v,
                      View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k, const std::array<std::int64_t, 2>& table,
                      const RelativeBuckets& buckets, const AttentionOptions& options);

/// (sequence, head) pairs, expensive sequences first, in groups of about equal cost that threads take one by one. The
/// heads of a cheap sequence stay together.
class WorkList {
 public:
  WorkList(Arena& scratch, const Problem& problem);
  std::int64_t groups() const { return groups_; }
  /// Calls body(sequence, first head, last head + 1) for the pairs of group g.
  template <class Body>
  void for_each(std::int64_t g, Body&& body) const {
    for (std::int64_t t = bounds_[g]; t < bounds_[g + 1];) {
      const std::int64_t head = t % heads_, count = std::min(heads_ - head, bounds_[g + 1] - t);
      body(order_[t / heads_], head, head + count);
      t += count;
    }
  }

 private:
  std::int64_t heads_;
  std::int32_t* order_;
  std::int64_t* bounds_;
  std::int64_t groups_ = 0;
};

/// The bias of every distance, expanded to one line per head so that a row of scores adds consecutive elements.
/// Without a table the lines are one line of zeros.
template <class T>
class BiasLines {
 public:
  BiasLines(Arena& scratch, const Problem& p, ConstView<T, 2> table, const RelativeBuckets& buckets);
  /// Bias of (query i, key j), at j = 0. Readable up to max_k rounded up to a vector.
  const T* row(std::int64_t head, std::int64_t i) const { return data_ + head * stride_ + max_q_ - 1 - i; }
  /// Elements of one line, with the padding of the last vector.
  static std::int64_t length(const Problem& p) { return p.max_q + padded<T>(p.max_k) + simd::kLanes<T>; }

 private:
  T* data_;
  std::int64_t stride_, max_q_;
};

/// s = scale s + bias over `width` (whole vectors), -inf from `visible` >= 1 on. Returns the maximum.
template <class T>
inline T bias_and_mask(T* __restrict s, const T* __restrict bias, T scale, std::int64_t visible, std::int64_t width) {
  constexpr int kL = simd::kLanes<T>;
  constexpr T kMasked = -std::numeric_limits<T>::infinity();
  simd::Vec<T> largest = simd::Vec<T>{} + kMasked, x, b;
  const std::int64_t whole = visible / kL * kL;
  for (std::int64_t j = 0; j < whole; j += kL) {
    simd::load<T>(x, s + j);
    simd::load<T>(b, bias + j);
    x = scale * x + b;
    simd::store<T>(s + j, x);
    largest = x > largest ? x : largest;
  }
  if (whole < width) {
    for (int l = 0; l < kL; ++l) {
      const T value = scale * s[whole + l] + bias[whole + l];
      s[whole + l] = whole + l < visible ? value : kMasked;
    }
    simd::load<T>(x, s + whole);
    largest = x > largest ? x : largest;
    for (std::int64_t j = whole + kL; j < width; ++j) s[j] = kMasked;
  }
  return simd::max_lanes<T>(largest);
}

/// s = e^(s - shift) over whole vectors. Returns the sum.
template <class T>
inline T exp_row(T* __restrict s, T shift, std::int64_t width) {
  constexpr int kL = simd::kLanes<T>;
  simd::Vec<T> sum{}, x;
  for (std::int64_t j = 0; j < width; j += kL) {
    for (int l = 0; l < kL; ++l) s[j + l] = vec::exp(s[j + l] - shift);
    simd::load<T>(x, s + j);
    sum += x;
  }
  return simd::sum_lanes<T>(sum);
}

/// s *= m over whole vectors.
template <class T>
inline void multiply_row(T* __restrict s, const T* __restrict m, std::int64_t width) {
#pragma omp simd
  for (std::int64_t j = 0; j < width; ++j) s[j] *= m[j];
}

/// Dropout multipliers of `rows` query rows from packed token `token` on, for head h.
template <class T>
inline void mask_rows(const Problem& p, std::int64_t token, std::int64_t h, std::int64_t rows, std::int64_t width, T* out, std::int64_t ld) {
  const auto line = static_cast<std::uint64_t>(token * p.heads + h);
  dropout_multiplier_rows<T>(p.options.dropout, line * kMaxKeys, static_cast<std::uint64_t>(p.heads) * kMaxKeys, rows, width, out, ld);
}

/// Most rows and most elements that a strip of any sequence of the call has.
template <class T>
std::int64_t max_strip_rows(const Problem& p) {
  return std::min(p.max_q, kStripElements / simd::kLanes<T>);
}
template <class T>
std::int64_t max_strip_elements(const Problem& p) {
  const std::int64_t row = padded<T>(p.max_k);
  return std::min(p.max_q * row, std::max(kStripElements, detail::kBlockRows * row));
}

/// One S per thread, with its memory taken from the context's scratch before the parallel region starts.
template <class S>
class WorkerScratch {
 public:
  WorkerScratch(CpuContext& ctx, Arena& arena, const Problem& p) {
    all_.reserve(static_cast<std::size_t>(ctx.threads()));
    for (int t = 0; t < ctx.threads(); ++t) all_.emplace_back(arena, p);
  }
  const S& operator[](int worker) const { return all_[static_cast<std::size_t>(worker)]; }

 private:
  std::vector<S> all_;
};

}  // namespace galrec::attention_detail
