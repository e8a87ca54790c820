#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_direct_cpu.h"
#include "kernels/attention/attention_work_cpu.h"
#include "kernels/common/touch.h"

namespace galrec {

using namespace attention_detail;

namespace {

// One thread's memory: padded copies of one (sequence, head)'s operands, its gradients, and strips of p and ds.
template <class T>
struct Scratch {
  T *keys, *keys_transposed, *values_transposed, *queries, *douts, *dq, *dk, *dv, *scores, *dscores, *multipliers, *distances;

  Scratch(Arena& arena, const Problem& p) {
    const std::int64_t wide = padded<T>(p.dim), row = padded<T>(p.max_k), rows = max_strip_rows<T>(p), strip = max_strip_elements<T>(p);
    keys = arena.alloc<T>(p.max_k * wide);
    keys_transposed = arena.alloc<T>(p.dim * row);
    values_transposed = arena.alloc<T>(p.dim * row);
    dk = arena.alloc<T>(std::max<std::int64_t>(p.max_k, 1) * wide);  // at least the row of zeros of an empty sequence
    dv = arena.alloc<T>(p.max_k * wide);
    queries = arena.alloc<T>(rows * wide);
    douts = arena.alloc<T>(rows * wide);
    dq = arena.alloc<T>(rows * wide);
    scores = arena.alloc<T>(strip);
    dscores = arena.alloc<T>(strip);
    multipliers = p.options.dropout.active() ? arena.alloc<T>(std::max(strip, direct_elements<T>(p))) : nullptr;
    distances = arena.alloc<T>(BiasLines<T>::length(p));
  }
};

template <class T>
void write_rows(View<T, 2> to, std::int64_t first, std::int64_t column, const T* from, std::int64_t ld, std::int64_t rows, std::int64_t dim, T scale,
                Accumulate accumulate) {
  for (std::int64_t i = 0; i < rows; ++i) {
    T* __restrict out = to.row(first + i) + column;
    const T* __restrict in = from + i * ld;
    if (accumulate == Accumulate::kAdd) {
      for (std::int64_t d = 0; d < dim; ++d) out[d] += scale * in[d];
    } else {
      for (std::int64_t d = 0; d < dim; ++d) out[d] = scale * in[d];
    }
  }
}

// From p and dp = do v^T of one row: ds = p (m dp - mean), and p becomes m p (m: dropout multipliers, or null for 1).
template <class T>
void score_gradient_row(T* __restrict p, T* __restrict dp, const T* __restrict m, T mean, std::int64_t width) {
  if (m == nullptr) {
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) dp[j] = p[j] * (dp[j] - mean);
    return;
  }
#pragma omp simd
  for (std::int64_t j = 0; j < width; ++j) {
    dp[j] = p[j] * (m[j] * dp[j] - mean);
    p[j] *= m[j];
  }
}

// Sums of ds over the distances of one (sequence, head), and from them its share of dtable.
template <class T>
class DistanceSums {
 public:
  DistanceSums(T* sums, const Problem& p, std::int64_t queries, std::int64_t keys)
      : sums_(sums), max_q_(p.max_q), first_(p.max_q - queries), count_(queries + keys - 1) {
    std::fill_n(sums_ + first_, queries + padded<T>(keys), T(0));
  }
  void add_row(std::int64_t i, const T* __restrict ds, std::int64_t width) {
    T* __restrict to = sums_ + max_q_ - 1 - i;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) to[j] += ds[j];
  }
  void to_buckets(T* out, const RelativeBuckets& buckets) const {
    const std::int64_t reach = buckets.max_distance();
    for (std::int64_t t = first_; t < first_ + count_; ++t) {
      out[buckets.index[std::clamp(t - (max_q_ - 1), -reach, reach) + reach]] += sums_[t];
    }
  }

 private:
  T* sums_;
  std::int64_t max_q_, first_, count_;
};

// dtable[bucket, h] = sum over sequences, in order, of partial[(sequence, h), bucket].
template <class T>
void reduce_buckets(CpuContext& ctx, View<T, 2> dtable, const T* partial, const Problem& p, Accumulate accumulate) {
  const std::int64_t buckets = dtable.rows();
  ScratchScope scope(ctx.scratch());
  View<double, 2> sums = scope->matrix<double>(p.heads, buckets);
  parallel_for(ctx, p.heads, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t h = begin; h < end; ++h) {
      double* __restrict sum = sums.row(h);
      std::fill_n(sum, buckets, 0.0);
      for (std::int64_t b = 0; b < p.batch; ++b) {
        const T* __restrict from = partial + (b * p.heads + h) * buckets;
        for (std::int64_t r = 0; r < buckets; ++r) sum[r] += from[r];
      }
      for (std::int64_t r = 0; r < buckets; ++r) {
        dtable(r, h) = static_cast<T>(accumulate == Accumulate::kAdd ? static_cast<double>(dtable(r, h)) + sum[r] : sum[r]);
      }
    }
  });
}

}  // namespace

template <class T>
void attention_backward(CpuContext& ctx, View<T, 2> dq, View<T, 2> dk, View<T, 2> dv, View<T, 2> dtable, ConstView<T, 2> dout,
                        ConstView<T, 2> q, ConstView<T, 2> k, ConstView<T, 2> v, ConstView<T, 2> o, ConstView<T, 2> lse,
                        View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k, ConstView<T, 2> table,
                        const RelativeBuckets& buckets, const AttentionOptions& options, Accumulate dqkv_accumulate,
                        Accumulate dtable_accumulate) {
  const Problem p = check_problem(q.shape, k.shape, v.shape, cu_q, cu_k, table.empty() ? std::array<std::int64_t, 2>{} : table.shape, buckets, options);
  GALREC_CHECK(o.shape == q.shape && dout.shape == q.shape && dq.shape == q.shape, "o, dout and dq must have the shape of q ({}, {})", q.rows(), q.cols());
  GALREC_CHECK(dk.shape == k.shape && dv.shape == k.shape, "dk and dv must have the shape of k ({}, {})", k.rows(), k.cols());
  GALREC_CHECK(lse.rows() == q.rows() && lse.cols() == p.heads, "lse ({}, {}) of {} queries, {} heads", lse.rows(), lse.cols(), q.rows(), p.heads);
  const bool table_gradient = !dtable.empty();
  GALREC_CHECK(!table_gradient || dtable.shape == table.shape, "dtable ({}, {}), table ({}, {})", dtable.rows(), dtable.cols(), table.rows(), table.cols());

  ScratchScope scope(ctx.scratch());
  const WorkList work(*scope, p);
  const BiasLines<T> bias(*scope, p, table, buckets);
  const WorkerScratch<Scratch<T>> scratch(ctx, *scope, p);
  const std::int64_t bucket_count = table_gradient ? dtable.rows() : 0;
  T* partial = scope->alloc<T>(p.batch * p.heads * bucket_count);
  const std::int64_t dim = p.dim, wide = padded<T>(dim);
  const T scale = static_cast<T>(options.scale);
  const bool dropping = options.dropout.active();

  const auto one = [&](const Scratch<T>& mine, std::int64_t b, std::int64_t h) {
    const std::int64_t queries = p.queries(b), keys = p.keys(b), q0 = p.cu_q[b], k0 = p.cu_k[b], column = h * dim;
    T* mine_buckets = partial + (b * p.heads + h) * bucket_count;
    if (table_gradient) std::fill_n(mine_buckets, bucket_count, T(0));
    if (queries == 0 || keys == 0) {  // nothing attends: the gradients are zero
      std::fill_n(mine.dk, std::max<std::int64_t>(keys, 1) * wide, T(0));
      for (std::int64_t i = 0; i < queries; ++i) write_rows<T>(dq, q0 + i, column, mine.dk, wide, 1, dim, scale, dqkv_accumulate);
      write_rows<T>(dk, k0, column, mine.dk, wide, keys, dim, scale, dqkv_accumulate);
      write_rows<T>(dv, k0, column, mine.dk, wide, keys, dim, T(1), dqkv_accumulate);
      return;
    }
    const std::int64_t row = padded<T>(keys), strip = strip_rows(row);
    copy_padded(mine.keys, wide, k.row(k0) + column, k.stride[0], keys, dim);
    transpose_padded(mine.keys_transposed, row, k.row(k0) + column, k.stride[0], keys, dim);
    transpose_padded(mine.values_transposed, row, v.row(k0) + column, v.stride[0], keys, dim);
    DistanceSums<T> distances(mine.distances, p, queries, keys);
    for (std::int64_t first = 0; first < queries; first += strip) {
      const std::int64_t rows = std::min(strip, queries - first), token = q0 + first;
      const std::int64_t depth = p.visible(first + rows - 1, keys), width = padded<T>(depth);
      copy_padded(mine.queries, wide, q.row(token) + column, q.stride[0], rows, dim);
      copy_padded(mine.douts, wide, dout.row(token) + column, dout.stride[0], rows, dim);
      small_product<T>(mine.scores, row, {mine.queries, wide, 1}, mine.keys_transposed, row, rows, width, dim, Accumulate::kOverwrite);
      small_product<T>(mine.dscores, row, {mine.douts, wide, 1}, mine.values_transposed, row, rows, width, dim, Accumulate::kOverwrite);
      if (dropping) mask_rows(p, token, h, rows, width, mine.multipliers, row);
      for (std::int64_t i = 0; i < rows; ++i) {
        T *s = mine.scores + i * row, *ds = mine.dscores + i * row;
        bias_and_mask(s, bias.row(h, first + i), scale, p.visible(first + i, keys), width);
        exp_row(s, lse(token + i, h), width);
        const T mean = dot(mine.douts + i * wide, o.row(token + i) + column, dim);
        score_gradient_row(s, ds, dropping ? mine.multipliers + i * row : nullptr, mean, width);
        if (table_gradient) distances.add_row(first + i, ds, width);
      }
      // Keys beyond `depth` are invisible to this strip and to all before it; the first strip that sees a key starts its sum.
      const std::int64_t known = first == 0 ? 0 : p.visible(first - 1, keys);
      const auto add_keys = [&](T* to, const T* weights, const T* rows_of) {
        small_product<T>(to, wide, {weights, 1, row}, rows_of, wide, known, wide, rows, Accumulate::kAdd);
        small_product<T>(to + known * wide, wide, {weights + known, 1, row}, rows_of, wide, depth - known, wide, rows, Accumulate::kOverwrite);
      };
      add_keys(mine.dv, mine.scores, mine.douts);
      add_keys(mine.dk, mine.dscores, mine.queries);
      small_product<T>(mine.dq, wide, {mine.dscores, row, 1}, mine.keys, wide, rows, wide, depth, Accumulate::kOverwrite);
      write_rows<T>(dq, token, column, mine.dq, wide, rows, dim, scale, dqkv_accumulate);
    }
    const std::int64_t seen = p.visible(queries - 1, keys);
    std::fill_n(mine.dk + seen * wide, (keys - seen) * wide, T(0));
    std::fill_n(mine.dv + seen * wide, (keys - seen) * wide, T(0));
    write_rows<T>(dk, k0, column, mine.dk, wide, keys, dim, scale, dqkv_accumulate);
    write_rows<T>(dv, k0, column, mine.dv, wide, keys, dim, T(1), dqkv_accumulate);
    if (table_gradient) distances.to_buckets(mine_buckets, buckets);
  };
  const auto direct = [&](const Scratch<T>& mine, std::int64_t b, std::int64_t h0, std::int64_t h1) {
    const std::int64_t queries = p.queries(b), keys = p.keys(b), q0 = p.cu_q[b], k0 = p.cu_k[b], row = padded<T>(keys), heads = h1 - h0;
    if (dropping) mask_heads(p, q0, queries, h0, heads, row, mine.multipliers);
    for (std::int64_t h = h0; h < h1; ++h) {
      const std::int64_t column = h * dim;
      const auto qh = head_rows<const T>(q, q0, column), kh = head_rows<const T>(k, k0, column), vh = head_rows<const T>(v, k0, column),
                 gh = head_rows<const T>(dout, q0, column);
      DistanceSums<T> distances(mine.distances, p, queries, keys);
      for (std::int64_t i = 0; i < queries; ++i) {
        const std::int64_t visible = p.visible(i, keys);
        T *s = mine.scores + i * row, *ds = mine.dscores + i * row;
        dot_rows<T>(s, qh.row(i), kh, visible, dim);
        dot_rows<T>(ds, gh.row(i), vh, visible, dim);
        std::fill(ds + visible, ds + row, T(0));
        bias_and_mask(s, bias.row(h, i), scale, visible, row);
        exp_row(s, lse(q0 + i, h), row);
        const T mean = dot(gh.row(i), o.row(q0 + i) + column, dim);
        score_gradient_row(s, ds, dropping ? mine.multipliers + (i * heads + h - h0) * row : nullptr, mean, row);
        if (table_gradient) distances.add_row(i, ds, row);
        weighted_sum<T>(dq.row(q0 + i) + column, ds, 1, kh, visible, dim, scale, dqkv_accumulate);
      }
      for (std::int64_t j = 0; j < keys; ++j) {
        weighted_sum<T>(dk.row(k0 + j) + column, mine.dscores + j, row, qh, queries, dim, scale, dqkv_accumulate);
        weighted_sum<T>(dv.row(k0 + j) + column, mine.scores + j, row, gh, queries, dim, T(1), dqkv_accumulate);
      }
      if (table_gradient) {
        T* buckets_of = partial + (b * p.heads + h) * bucket_count;
        std::fill_n(buckets_of, bucket_count, T(0));
        distances.to_buckets(buckets_of, buckets);
      }
    }
  };
  parallel_for(ctx, work.groups(), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t g = begin; g < end; ++g) {
      work.for_each(g, [&](std::int64_t b, std::int64_t h0, std::int64_t h1) {
        if (p.queries(b) > 0 && p.keys(b) > 0 && is_direct<T>(p.queries(b), p.keys(b), dim)) {
          direct(scratch[worker], b, h0, h1);
        } else {
          if (h1 > h0 + 1) {
            touch_rows(q, p.cu_q[b], p.queries(b), h0 * dim, (h1 - h0) * dim);
            touch_rows(k, p.cu_k[b], p.keys(b), h0 * dim, (h1 - h0) * dim);
            touch_rows(v, p.cu_k[b], p.keys(b), h0 * dim, (h1 - h0) * dim);
            touch_rows(o, p.cu_q[b], p.queries(b), h0 * dim, (h1 - h0) * dim);
            touch_rows(dout, p.cu_q[b], p.queries(b), h0 * dim, (h1 - h0) * dim);
          }
          for (std::int64_t h = h0; h < h1; ++h) one(scratch[worker], b, h);
        }
      });
    }
  });
  if (table_gradient) reduce_buckets(ctx, dtable, partial, p, dtable_accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                            \
  template void attention_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 2>, View<T, 2>, ConstView<T, 2>,     \
                                      ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>,               \
                                      ConstView<T, 2>, View<const std::int32_t, 1>, View<const std::int32_t, 1>,        \
                                      ConstView<T, 2>, const RelativeBuckets&, const AttentionOptions&, Accumulate,     \
                                      Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
