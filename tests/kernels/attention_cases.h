#pragma once
// What the tests of attention on CUDA share: a case, its inputs as a kernel of T sees them, the double oracle, a naive
// version that rounds where a bf16 kernel rounds, and the run of the backend under test.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "tests/support/random.h"
#include "tests/support/staged.h"

namespace galrec::test {

using Lengths = std::vector<std::int64_t>;

struct AttentionCase {
  std::string name;
  Lengths queries, keys;
  std::int64_t heads = 2, dim = 64;
  AttentionMask mask = AttentionMask::kNone;
  bool bias = true;
  double dropout = 0;
  double scale = 1.0;
  std::int64_t reach = 128, buckets = 32;
  std::int64_t gap = 8;  // elements between rows: a multiple of 8 keeps 16-byte accesses
};

/// A bucket for each distance in the manner of T5: exact near 0, then wider and wider, one half for each sign.
inline std::int32_t test_bucket(std::int64_t distance, std::int64_t reach, std::int64_t buckets) {
  const std::int64_t half = buckets / 2, exact = std::max<std::int64_t>(half / 2, 1), away = std::abs(distance);
  std::int64_t bucket = away;
  if (away >= exact) {
    const double share = std::log(static_cast<double>(away) / static_cast<double>(exact)) /
                         std::log(static_cast<double>(reach) / static_cast<double>(exact));
    bucket = std::min(half - 1, exact + static_cast<std::int64_t>(share * static_cast<double>(half - exact)));
  }
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(bucket + (distance > 0 ? half : 0), 0, buckets - 1));
}

struct AttentionInputs {
  AttentionCase c;
  std::vector<std::int32_t> cu_q{0}, cu_k{0}, index;
  std::int64_t tq, tk, width;
  std::vector<double> q, k, v, dout, table;

  AttentionOptions options() const {
    return {.heads = static_cast<int>(c.heads),
            .scale = c.scale,
            .mask = c.mask,
            .dropout = {.rate = c.dropout, .key = {.seed = 77, .step = 5, .stream = 9}}};
  }
};

/// Random values rounded to T; the table, which stays fp32, to float.
template <class T>
AttentionInputs make_inputs(const AttentionCase& c, std::uint64_t seed = 1) {
  AttentionInputs in{.c = c,
                     .index = {},
                     .tq = 0,
                     .tk = 0,
                     .width = c.heads * c.dim,
                     .q = {},
                     .k = {},
                     .v = {},
                     .dout = {},
                     .table = {}};
  for (auto n : c.queries) in.cu_q.push_back(in.cu_q.back() + static_cast<std::int32_t>(n));
  for (auto n : c.keys) in.cu_k.push_back(in.cu_k.back() + static_cast<std::int32_t>(n));
  in.tq = in.cu_q.back();
  in.tk = in.cu_k.back();
  const double unit = 1.0 / std::sqrt(std::sqrt(static_cast<double>(c.dim)));  // scores of order one
  in.q = quantized<T>(random_normal<double>(in.tq * in.width, seed, unit));
  in.k = quantized<T>(random_normal<double>(in.tk * in.width, seed + 1, unit));
  in.v = quantized<T>(random_normal<double>(in.tk * in.width, seed + 2));
  in.dout = quantized<T>(random_normal<double>(in.tq * in.width, seed + 3));
  if (!c.bias) return in;
  in.table = random_normal<double>(c.buckets * c.heads, seed + 4);
  for (std::int64_t d = -c.reach; d <= c.reach; ++d) in.index.push_back(test_bucket(d, c.reach, c.buckets));
  return in;
}

/// Outputs and gradients, dense, as doubles.
struct AttentionResult {
  std::vector<double> o, lse, dq, dk, dv, dtable;
};

inline RelativeBuckets buckets_of(const std::vector<std::int32_t>& index) {
  return {View<const std::int32_t, 1>(index.data(), {static_cast<std::int64_t>(index.size())})};
}

/// The CPU implementation in double.
inline AttentionResult attention_oracle(const AttentionInputs& in) {
  CpuContext ctx(2);
  const auto size = [](std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); };
  AttentionResult r;
  r.o.resize(size(in.tq, in.width));
  r.lse.resize(size(in.tq, in.c.heads));
  r.dq.resize(r.o.size());
  r.dk.resize(size(in.tk, in.width));
  r.dv.resize(r.dk.size());
  r.dtable.resize(in.table.size());
  const auto view = [](auto& x, std::int64_t rows, std::int64_t cols) { return view_of(x, rows, cols); };
  const auto table = in.c.bias ? view(in.table, in.c.buckets, in.c.heads) : View<const double, 2>();
  const auto q = view(in.q, in.tq, in.width), k = view(in.k, in.tk, in.width), v = view(in.v, in.tk, in.width);
  attention_forward<double>(ctx, view(r.o, in.tq, in.width), view(r.lse, in.tq, in.c.heads), q, k, v, view_of(in.cu_q),
                            view_of(in.cu_k), table, buckets_of(in.index), in.options());
  attention_backward<double>(ctx, view(r.dq, in.tq, in.width), view(r.dk, in.tk, in.width), view(r.dv, in.tk, in.width),
                             in.c.bias ? view(r.dtable, in.c.buckets, in.c.heads) : View<double, 2>(),
                             view(in.dout, in.tq, in.width), q, k, v, View<const double, 2>(view(r.o, in.tq, in.width)),
                             View<const double, 2>(view(r.lse, in.tq, in.c.heads)), view_of(in.cu_q), view_of(in.cu_k),
                             table, buckets_of(in.index), in.options(), Accumulate::kOverwrite, Accumulate::kOverwrite);
  return r;
}

/// The definition in plain loops with `round` applied where a kernel stores or multiplies in bf16: p, ds, o and the
/// gradients.
template <class Round>
AttentionResult naive_attention(const AttentionInputs& in, Round round) {
  const auto& c = in.c;
  const Dropout dropout = in.options().dropout;
  AttentionResult r;
  r.o.assign(in.q.size(), 0);
  r.lse.assign(static_cast<std::size_t>(in.tq * c.heads), -INFINITY);
  r.dq.assign(in.q.size(), 0);
  r.dk.assign(in.k.size(), 0);
  r.dv.assign(in.k.size(), 0);
  r.dtable.assign(in.table.size(), 0);
  const auto at = [&](std::int64_t row, std::int64_t h, std::int64_t d) {
    return static_cast<std::size_t>(row * in.width + h * c.dim + d);
  };
  for (std::size_t b = 0; b < c.queries.size(); ++b) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      for (std::int64_t i = 0; i < c.queries[b]; ++i) {
        const std::int64_t token = in.cu_q[b] + i, k0 = in.cu_k[b];
        const std::int64_t n = c.mask == AttentionMask::kCausal ? std::min(i + 1, c.keys[b]) : c.keys[b];
        if (n == 0) continue;
        std::vector<double> s(static_cast<std::size_t>(n)), m(s.size(), 1.0), multipliers((s.size() + 7) / 8 * 8);
        std::vector<std::size_t> cell(s.size());
        if (dropout.active()) {
          dropout_multipliers<double>(dropout, static_cast<std::uint64_t>((token * c.heads + h) * 4096),
                                      static_cast<std::int64_t>(multipliers.size()), multipliers.data());
          std::copy_n(multipliers.begin(), s.size(), m.begin());
        }
        double sum = 0, delta = 0;
        for (std::int64_t j = 0; j < n; ++j) {
          double x = 0;
          for (std::int64_t d = 0; d < c.dim; ++d) x += in.q[at(token, h, d)] * in.k[at(k0 + j, h, d)];
          x *= c.scale;
          if (c.bias) {
            cell[j] = static_cast<std::size_t>(in.index[std::clamp(j - i, -c.reach, c.reach) + c.reach] * c.heads + h);
            x += in.table[cell[j]];
          }
          s[j] = x;
          sum += std::exp(x);
        }
        r.lse[static_cast<std::size_t>(token * c.heads + h)] = std::log(sum);
        for (std::int64_t d = 0; d < c.dim; ++d) {
          double o = 0;
          for (std::int64_t j = 0; j < n; ++j) o += round(std::exp(s[j]) / sum * m[j]) * in.v[at(k0 + j, h, d)];
          r.o[at(token, h, d)] = round(o);
          delta += r.o[at(token, h, d)] * in.dout[at(token, h, d)];
        }
        for (std::int64_t j = 0; j < n; ++j) {
          const double p = std::exp(s[j]) / sum;
          double dp = 0;
          for (std::int64_t d = 0; d < c.dim; ++d) dp += in.dout[at(token, h, d)] * in.v[at(k0 + j, h, d)];
          const double ds = round(p * (m[j] * dp - delta));
          if (c.bias) r.dtable[cell[j]] += ds;
          for (std::int64_t d = 0; d < c.dim; ++d) {
            r.dq[at(token, h, d)] += c.scale * ds * in.k[at(k0 + j, h, d)];
            r.dk[at(k0 + j, h, d)] += c.scale * ds * in.q[at(token, h, d)];
            r.dv[at(k0 + j, h, d)] += round(p * m[j]) * in.dout[at(token, h, d)];
          }
        }
      }
    }
  }
  for (auto* x : {&r.dq, &r.dk, &r.dv})
    for (auto& value : *x) value = round(value);
  return r;
}

/// Forward and backward of the backend under test. `start`: what the gradients hold before, added to.
template <class T, class Context>
AttentionResult run_attention(Context& ctx, const AttentionInputs& in, const AttentionResult* start = nullptr) {
  const auto& c = in.c;
  const std::int64_t gap = c.gap;
  Staged<T> q(ctx, in.tq, in.width, in.q, gap), k(ctx, in.tk, in.width, in.k, gap), v(ctx, in.tk, in.width, in.v, gap),
      dout(ctx, in.tq, in.width, in.dout, gap);
  Staged<T> o(ctx, in.tq, in.width, gap);
  Staged<Acc<T>> lse(ctx, in.tq, c.heads, 3), table(ctx, c.bias ? c.buckets : 0, c.heads, in.table, 1);
  const auto cu = [&](const std::vector<std::int32_t>& x) {
    return Buffer<std::int32_t>(std::span<const std::int32_t>(x), ctx.memory());
  };
  const auto cu_q = cu(in.cu_q), cu_k = cu(in.cu_k), index = cu(in.index);
  const RelativeBuckets buckets{index.view()};
  const View<const Acc<T>, 2> biases = c.bias ? View<const Acc<T>, 2>(table.view()) : View<const Acc<T>, 2>();
  attention_forward<T>(ctx, o, lse, q, k, v, cu_q.view(), cu_k.view(), biases, buckets, in.options());
  const auto gradient = [&]<class U>(std::type_identity<U>, std::int64_t rows, std::int64_t cols,
                                     const std::vector<double>* values, std::int64_t g) {
    return values ? Staged<U>(ctx, rows, cols, *values, g) : Staged<U>(ctx, rows, cols, g);
  };
  auto dq = gradient(std::type_identity<T>(), in.tq, in.width, start ? &start->dq : nullptr, gap);
  auto dk = gradient(std::type_identity<T>(), in.tk, in.width, start ? &start->dk : nullptr, gap);
  auto dv = gradient(std::type_identity<T>(), in.tk, in.width, start ? &start->dv : nullptr, gap);
  auto dtable =
      gradient(std::type_identity<Acc<T>>(), c.bias ? c.buckets : 0, c.heads, start ? &start->dtable : nullptr, 5);
  const auto accumulate = start ? Accumulate::kAdd : Accumulate::kOverwrite;
  attention_backward<T>(ctx, dq, dk, dv, c.bias ? dtable.view() : View<Acc<T>, 2>(), dout, q, k, v, o, lse, cu_q.view(),
                        cu_k.view(), biases, buckets, in.options(), accumulate, accumulate);
  ctx.synchronize();
  return {o.doubles(), lse.doubles(), dq.doubles(), dk.doubles(), dv.doubles(), dtable.doubles()};
}

}  // namespace galrec::test
