#include "kernels/adamw/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"

namespace galrec {

namespace {

constexpr std::int64_t kSumChunk = 65536;  // elements per partial sum of squares
constexpr std::int64_t kPiece = 16384;     // elements updated by one thread at a time
constexpr std::int64_t kTile = 1024;       // elements that stay in L1 between update and average: one pass over memory

template <class T>
struct Constants {
  T decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction, eps, clip, mu, one_minus_mu;
};

template <class T>
void update(std::int64_t n, T* __restrict p, T* __restrict m, T* __restrict v, const T* __restrict g, T decay,
            const Constants<T>& k) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T gradient = g[i] * k.clip;
    const T m1 = k.beta1 * m[i] + k.one_minus_beta1 * gradient;
    const T v1 = k.beta2 * v[i] + k.one_minus_beta2 * gradient * gradient;
    m[i] = m1;
    v[i] = v1;
    p[i] = p[i] * decay - k.step_size * m1 / (std::sqrt(v1) * k.inv_sqrt_correction + k.eps);
  }
}

template <class T>
void average(std::int64_t n, T* __restrict ema, const T* __restrict p, const Constants<T>& k) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) ema[i] = k.mu * ema[i] + k.one_minus_mu * p[i];
}

// Part of a span: what one thread updates at a time.
struct Piece {
  std::int64_t offset, size, ema_offset;  // ema_offset -1: no average
  bool decay;
};

std::int64_t count_pieces(std::span<const AdamWSpan> spans) {
  std::int64_t n = 0;
  for (const auto& s : spans) n += (s.size + kPiece - 1) / kPiece;
  return n;
}

void check_spans(std::span<const AdamWSpan> spans, std::int64_t elements, std::int64_t averaged) {
  std::int64_t at = 0;
  for (const auto& s : spans) {
    GALREC_CHECK(s.offset >= at && s.size >= 0 && s.offset + s.size <= elements,
                 "span [{}, +{}) after {} of {} parameters", s.offset, s.size, at, elements);
    GALREC_CHECK(s.ema_offset < 0 || s.ema_offset + s.size <= averaged,
                 "the average of span [{}, +{}) lies at {} of {}", s.offset, s.size, s.ema_offset, averaged);
    at = s.offset + s.size;
  }
}

}  // namespace

template <class T>
double sum_of_squares(CpuContext& ctx, View<T, 1> x) {
  const std::int64_t n = x.extent(0), chunks = (n + kSumChunk - 1) / kSumChunk;
  ScratchScope scratch(ctx.scratch());
  auto partial = scratch->vector<double>(std::max<std::int64_t>(chunks, 1));
  parallel_for(ctx, n, kSumChunk, [&](std::int64_t begin, std::int64_t end, int) {
    constexpr int kLanes = 32;  // fixed lanes: the order of additions is the source's, not the vectoriser's
    double lanes[kLanes] = {};
    const T* __restrict p = x.data;
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) lanes[l] += static_cast<double>(p[i + l]) * static_cast<double>(p[i + l]);
    }
    for (; i < end; ++i) lanes[0] += static_cast<double>(p[i]) * static_cast<double>(p[i]);
    double total = 0;
    for (double lane : lanes) total += lane;
    partial[begin / kSumChunk] = total;
  });
  double total = 0;
  for (std::int64_t c = 0; c < chunks; ++c) total += partial[c];
  return total;
}

template <class T>
void adamw_step(CpuContext& ctx, View<T, 1> param, View<T, 1> m, View<T, 1> v, View<T, 1> ema, ConstView<T, 1> grad,
                std::span<const AdamWSpan> spans, const AdamWOptions& o) {
  const std::int64_t n = param.extent(0);
  GALREC_CHECK(m.extent(0) == n && v.extent(0) == n && grad.extent(0) == n,
               "m ({}), v ({}), grad ({}) for {} parameters", m.extent(0), v.extent(0), grad.extent(0), n);
  GALREC_CHECK(o.step >= 1, "step {} is before the first", o.step);
  check_spans(spans, n, ema.extent(0));
  const double t = static_cast<double>(o.step);
  const double correction1 = 1 - std::pow(o.beta1, t), correction2 = 1 - std::pow(o.beta2, t);
  const Constants<T> k{.decay = static_cast<T>(1 - o.lr * o.weight_decay),
                       .beta1 = static_cast<T>(o.beta1),
                       .one_minus_beta1 = static_cast<T>(1 - o.beta1),
                       .beta2 = static_cast<T>(o.beta2),
                       .one_minus_beta2 = static_cast<T>(1 - o.beta2),
                       .step_size = static_cast<T>(o.lr / correction1),
                       .inv_sqrt_correction = static_cast<T>(1 / std::sqrt(correction2)),
                       .eps = static_cast<T>(o.eps),
                       .clip = static_cast<T>(o.clip_scale),
                       .mu = static_cast<T>(o.ema_momentum),
                       .one_minus_mu = static_cast<T>(1 - o.ema_momentum)};
  // One list of pieces over all spans: a model has many small ones, and each parallel region costs microseconds.
  ScratchScope scratch(ctx.scratch());
  const std::int64_t count = count_pieces(spans);
  Piece* pieces = scratch->alloc<Piece>(count);
  std::int64_t used = 0;
  for (const auto& s : spans) {
    for (std::int64_t i = 0; i < s.size; i += kPiece) {
      const std::int64_t ema_offset = s.ema_offset < 0 ? -1 : s.ema_offset + i;
      pieces[used++] = {s.offset + i, std::min(kPiece, s.size - i), ema_offset, s.decay};
    }
  }
  parallel_for(ctx, count, 4, [&](std::int64_t begin, std::int64_t end, int) {
    for (const Piece* piece = pieces + begin; piece != pieces + end; ++piece) {
      const T decay = piece->decay ? k.decay : T(1);
      for (std::int64_t i = 0; i < piece->size; i += kTile) {
        const std::int64_t size = std::min(kTile, piece->size - i), e = piece->offset + i;
        update(size, param.data + e, m.data + e, v.data + e, grad.data + e, decay, k);
        if (piece->ema_offset >= 0) average(size, ema.data + piece->ema_offset + i, param.data + e, k);
      }
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                               \
  template double sum_of_squares<T>(CpuContext&, View<T, 1>);                                               \
  template void adamw_step<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>, ConstView<T, 1>, \
                              std::span<const AdamWSpan>, const AdamWOptions&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
