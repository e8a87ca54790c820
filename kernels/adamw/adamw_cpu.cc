#include "kernels/adamw/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/adamw/constants.h"
#include "kernels/common/parallel.h"

namespace galrec {

namespace {

constexpr std::int64_t kSumChunk = 65536;  // elements per partial sum of squares
constexpr std::int64_t kPiece = 16384;     // elements updated by one thread at a time
constexpr std::int64_t kTile = 1024;       // elements that stay in L1 between update and average: one pass over memory

template <class T>
void update(std::int64_t n, T* __restrict p, T* __restrict m, T* __restrict v, const T* __restrict g, T decay,
            const AdamWConstants<T>& k) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T gradient = g[i] * k.scale;
    const T m1 = k.beta1 * m[i] + k.one_minus_beta1 * gradient;
    const T v1 = k.beta2 * v[i] + k.one_minus_beta2 * gradient * gradient;
    m[i] = m1;
    v[i] = v1;
    p[i] = p[i] * decay - k.step_size * m1 / (std::sqrt(v1) * k.inv_sqrt_correction + k.eps);
  }
}

template <class T>
void average(std::int64_t n, T* __restrict ema, const T* __restrict p, const AdamWConstants<T>& k) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) ema[i] = k.mu * ema[i] + k.one_minus_mu * p[i];
}

// Part of a span: what one thread updates at a time.
struct Piece {
  std::int64_t offset, size, ema_offset;  // ema_offset -1: no average
  bool decay;
};

template <class T>
void round_to(std::int64_t n, bfloat16* __restrict to, const T* __restrict from) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = bfloat16(static_cast<float>(from[i]));
}

std::int64_t count_pieces(std::span<const AdamWSpan> spans) {
  std::int64_t n = 0;
  for (const auto& s : spans) n += (s.size + kPiece - 1) / kPiece;
  return n;
}

}  // namespace

void check_adamw_spans(std::span<const AdamWSpan> spans, std::int64_t elements, std::int64_t averaged) {
  std::int64_t at = 0;
  for (const auto& s : spans) {
    GALREC_CHECK(s.offset >= at && s.size >= 0 && s.offset + s.size <= elements,
                 "span [{}, +{}) after {} of {} parameters", s.offset, s.size, at, elements);
    GALREC_CHECK(s.ema_offset < 0 || s.ema_offset + s.size <= averaged,
                 "the average of span [{}, +{}) lies at {} of {}", s.offset, s.size, s.ema_offset, averaged);
    at = s.offset + s.size;
  }
}

template <class T>
void sum_of_squares(CpuContext& ctx, View<double, 1> out, ConstView<T, 1> x) {
  GALREC_CHECK(out.extent(0) == 1, "out ({})", out.extent(0));
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
  out[0] = total;
}

template <class T>
void adamw_step(CpuContext& ctx, View<T, 1> param, View<T, 1> m, View<T, 1> v, View<T, 1> ema,
                const AdamWShadows& shadows, ConstView<T, 1> grad, View<const AdamWSpan, 1> span_table,
                const AdamWOptions& o) {
  check_adamw_arguments<T>(param, m, v, ema, shadows, grad, o);
  const std::span<const AdamWSpan> spans(span_table.data, static_cast<std::size_t>(span_table.extent(0)));
  check_adamw_spans(spans, param.extent(0), ema.extent(0));
  const double square_sum = o.square_sum ? o.square_sum[0] : 0;
  if (!std::isfinite(square_sum))
    throw NumericalError(fmt::format("adamw: the gradient's sum of squares is {}", square_sum));
  const double lr = o.lr_and_step ? o.lr_and_step[0] : o.lr;
  const double step = o.lr_and_step ? o.lr_and_step[1] : static_cast<double>(o.step);
  const auto k = adamw_constants<T>(o, lr, step, square_sum);
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
        if (shadows.param) round_to(size, shadows.param.data + e, param.data + e);
        if (piece->ema_offset < 0) continue;
        const std::int64_t averaged = piece->ema_offset + i;
        average(size, ema.data + averaged, param.data + e, k);
        if (shadows.ema) round_to(size, shadows.ema.data + averaged, ema.data + averaged);
      }
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                   \
  template void sum_of_squares<T>(CpuContext&, View<double, 1>, ConstView<T, 1>);                               \
  template void adamw_step<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>, const AdamWShadows&, \
                              ConstView<T, 1>, View<const AdamWSpan, 1>, const AdamWOptions&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
