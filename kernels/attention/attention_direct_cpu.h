#pragma once
// The direct path: sequences with so few queries that transposing and padding operands would cost more than their
// products. Scores are dot products of the rows where they lie. GAL batches have thousands of three-token prompts, and
// decoders that ask one question.

#include "kernels/attention/attention_work_cpu.h"

namespace galrec::attention_detail {

inline constexpr std::int64_t kDirectQueries = 8, kDirectKeys = 8, kDirectQueriesOfLong = 4;

/// Whether a sequence takes the direct path (a function of its shape only; rows must be whole vectors).
template <class T>
bool is_direct(std::int64_t queries, std::int64_t keys, std::int64_t dim) {
  return dim % simd::kLanes<T> == 0 && (queries <= kDirectQueriesOfLong || (queries <= kDirectQueries && keys <= kDirectKeys));
}

/// Rows of one head: row r starts at data + r * stride.
template <class T>
struct HeadRows {
  T* data;
  std::int64_t stride;
  T* row(std::int64_t r) const { return data + r * stride; }
};
template <class T>
HeadRows<T> head_rows(View<T, 2> x, std::int64_t first, std::int64_t column) {
  return {x.data + first * x.stride[0] + column, x.stride[0]};
}

template <class T>
inline T dot(const T* __restrict a, const T* __restrict b, std::int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t d = 0; d < n; ++d) sum += a[d] * b[d];
  return sum;
}

/// to = scale * sum over r < count of weights[r * step] x.row(r) (+ to). dim is a multiple of kLanes.
template <class T>
inline void weighted_sum(T* to, const T* weights, std::int64_t step, HeadRows<const T> x, std::int64_t count, std::int64_t dim, T scale,
                         Accumulate accumulate) {
  constexpr int kL = simd::kLanes<T>;
  for (std::int64_t d = 0; d < dim; d += kL) {
    simd::Vec<T> sum{}, v;
    const T* from = x.data + d;
    for (std::int64_t r = 0; r < count; ++r, from += x.stride) {
      simd::load<T>(v, from);
      sum += weights[r * step] * v;
    }
    sum *= scale;
    if (accumulate == Accumulate::kAdd) {
      simd::load<T>(v, to + d);
      sum += v;
    }
    simd::store<T>(to + d, sum);
  }
}

/// Scores of one query: s[j] = q . x.row(j) for j < count.
template <class T>
inline void dot_rows(T* s, const T* q, HeadRows<const T> x, std::int64_t count, std::int64_t dim) {
  for (std::int64_t j = 0; j < count; ++j) s[j] = dot(q, x.row(j), dim);
}

/// Dropout multipliers of a direct sequence: row i * heads + (h - h0) for query i and head h.
template <class T>
inline void mask_heads(const Problem& p, std::int64_t q0, std::int64_t queries, std::int64_t h0, std::int64_t heads, std::int64_t row, T* out) {
  const auto line = static_cast<std::uint64_t>(q0 * p.heads + h0);
  if (heads == p.heads) {  // one run of mask rows
    dropout_multiplier_rows<T>(p.options.dropout, line * kMaxKeys, kMaxKeys, queries * heads, row, out, row);
    return;
  }
  for (std::int64_t i = 0; i < queries; ++i) {
    dropout_multiplier_rows<T>(p.options.dropout, (line + static_cast<std::uint64_t>(i * p.heads)) * kMaxKeys, kMaxKeys, heads, row, out + i * heads * row, row);
  }
}

/// Most multipliers that mask_heads writes for any sequence of the call.
template <class T>
std::int64_t direct_elements(const Problem& p) {
  const std::int64_t row = padded<T>(p.max_k);
  return std::min(p.max_q, kDirectQueriesOfLong) * p.heads * row + kDirectQueries * p.heads * padded<T>(kDirectKeys);
}

}  // namespace galrec::attention_detail
