#include "kernels/attention/attention.h"

#include <cmath>

#include "kernels/attention/attention_direct_cpu.h"
#include "kernels/attention/attention_work_cpu.h"
#include "kernels/common/touch.h"

namespace galrec {

using namespace attention_detail;

namespace {

// One thread's memory: the operands of one (sequence, head) in padded, contiguous form, and a strip of its scores.
template <class T>
struct Scratch {
  T *keys_transposed, *values, *out, *scores, *multipliers;

  Scratch(Arena& arena, const Problem& p) {
    const std::int64_t wide = padded<T>(p.dim), keys = padded<T>(p.max_k);
    keys_transposed = arena.alloc<T>(p.dim * keys);
    values = arena.alloc<T>(p.max_k * wide);
    const std::int64_t strip = max_strip_elements<T>(p);
    out = arena.alloc<T>(max_strip_rows<T>(p) * wide);
    scores = arena.alloc<T>(strip);
    multipliers = p.options.dropout.active() ? arena.alloc<T>(std::max(strip, direct_elements<T>(p))) : nullptr;
  }
};

}  // namespace

template <class T>
void attention_forward(CpuContext& ctx, View<T, 2> o, View<T, 2> lse, ConstView<T, 2> q, ConstView<T, 2> k, ConstView<T, 2> v,
                       View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k, ConstView<T, 2> table,
                       const RelativeBuckets& buckets, const AttentionOptions& options) {
  const Problem p = check_problem(q.shape, k.shape, v.shape, cu_q, cu_k, table.empty() ? std::array<std::int64_t, 2>{} : table.shape, buckets, options);
  GALREC_CHECK(o.shape == q.shape, "o ({}, {}), q ({}, {})", o.rows(), o.cols(), q.rows(), q.cols());
  GALREC_CHECK(lse.rows() == q.rows() && lse.cols() == p.heads, "lse ({}, {}) of {} queries, {} heads", lse.rows(), lse.cols(), q.rows(), p.heads);
  if (q.rows() == 0) return;

  ScratchScope scope(ctx.scratch());
  const WorkList work(*scope, p);
  const BiasLines<T> bias(*scope, p, table, buckets);
  const WorkerScratch<Scratch<T>> scratch(ctx, *scope, p);
  const std::int64_t dim = p.dim, wide = padded<T>(dim);
  const T scale = static_cast<T>(options.scale);
  const bool dropping = options.dropout.active();

  const auto one = [&](const Scratch<T>& mine, std::int64_t b, std::int64_t h) {
    const std::int64_t queries = p.queries(b), keys = p.keys(b), q0 = p.cu_q[b], k0 = p.cu_k[b], column = h * dim;
    if (keys == 0) {
      for (std::int64_t i = q0; i < q0 + queries; ++i) {
        std::fill_n(o.row(i) + column, dim, T(0));
        lse(i, h) = -std::numeric_limits<T>::infinity();
      }
      return;
    }
    if (queries == 0) return;
    const std::int64_t row = padded<T>(keys), strip = strip_rows(row);
    transpose_padded(mine.keys_transposed, row, k.row(k0) + column, k.stride[0], keys, dim);
    copy_padded(mine.values, wide, v.row(k0) + column, v.stride[0], keys, dim);
    for (std::int64_t first = 0; first < queries; first += strip) {
      const std::int64_t rows = std::min(strip, queries - first), token = q0 + first;
      const std::int64_t depth = p.visible(first + rows - 1, keys), width = padded<T>(depth);
      small_product<T>(mine.scores, row, {q.row(token) + column, q.stride[0], 1}, mine.keys_transposed, row, rows, width, dim, Accumulate::kOverwrite);
      if (dropping) mask_rows(p, token, h, rows, width, mine.multipliers, row);
      T inverse[kStripElements / simd::kLanes<T>];
      for (std::int64_t i = 0; i < rows; ++i) {
        T* s = mine.scores + i * row;
        const T max = bias_and_mask(s, bias.row(h, first + i), scale, p.visible(first + i, keys), width);
        const T sum = exp_row(s, max, width);
        lse(token + i, h) = max + std::log(sum);
        inverse[i] = T(1) / sum;
        if (dropping) multiply_row(s, mine.multipliers + i * row, width);
      }
      small_product<T>(mine.out, wide, {mine.scores, row, 1}, mine.values, wide, rows, wide, depth, Accumulate::kOverwrite);
      for (std::int64_t i = 0; i < rows; ++i) {
        T* __restrict to = o.row(token + i) + column;
        const T* __restrict from = mine.out + i * wide;
        for (std::int64_t d = 0; d < dim; ++d) to[d] = from[d] * inverse[i];
      }
    }
  };
  // A sequence with few queries: all heads [h0, h1) at once, so that their short mask rows share Philox vectors.
  const auto direct = [&](const Scratch<T>& mine, std::int64_t b, std::int64_t h0, std::int64_t h1) {
    const std::int64_t queries = p.queries(b), keys = p.keys(b), q0 = p.cu_q[b], k0 = p.cu_k[b], row = padded<T>(keys), heads = h1 - h0;
    if (dropping) mask_heads(p, q0, queries, h0, heads, row, mine.multipliers);
    for (std::int64_t h = h0; h < h1; ++h) {
      const auto kh = head_rows<const T>(k, k0, h * dim), vh = head_rows<const T>(v, k0, h * dim);
      for (std::int64_t i = 0; i < queries; ++i) {
        const std::int64_t token = q0 + i, visible = p.visible(i, keys), width = padded<T>(visible);
        dot_rows<T>(mine.scores, q.row(token) + h * dim, kh, visible, dim);
        const T max = bias_and_mask(mine.scores, bias.row(h, i), scale, visible, width);
        const T sum = exp_row(mine.scores, max, width);
        lse(token, h) = max + std::log(sum);
        if (dropping) multiply_row(mine.scores, mine.multipliers + (i * heads + h - h0) * row, width);
        weighted_sum<T>(o.row(token) + h * dim, mine.scores, 1, vh, visible, dim, T(1) / sum, Accumulate::kOverwrite);
      }
    }
  };
  parallel_for(ctx, work.groups(), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t g = begin; g < end; ++g) {
      work.for_each(g, [&](std::int64_t b, std::int64_t h0, std::int64_t h1) {
        if (p.keys(b) > 0 && is_direct<T>(p.queries(b), p.keys(b), dim)) {
          direct(scratch[worker], b, h0, h1);
        } else {
          if (h1 > h0 + 1) {
            touch_rows(q, p.cu_q[b], p.queries(b), h0 * dim, (h1 - h0) * dim);
            touch_rows(k, p.cu_k[b], p.keys(b), h0 * dim, (h1 - h0) * dim);
            touch_rows(v, p.cu_k[b], p.keys(b), h0 * dim, (h1 - h0) * dim);
          }
          for (std::int64_t h = h0; h < h1; ++h) one(scratch[worker], b, h);
        }
      });
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                          \
  template void attention_forward<T>(CpuContext&, View<T, 2>, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>,           \
                                     ConstView<T, 2>, View<const std::int32_t, 1>, View<const std::int32_t, 1>,       \
                                     ConstView<T, 2>, const RelativeBuckets&, const AttentionOptions&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
