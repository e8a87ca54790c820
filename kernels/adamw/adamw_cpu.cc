#include "kernels/adamw/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"

namespace galrec {

namespace {

constexpr std::int64_t kChunk = 65536;

template <class T>
struct Constants {
  T decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction, eps, clip, mu, one_minus_mu;
};

template <class T>
void update(std::int64_t n, T* __restrict p, T* __restrict m, T* __restrict v, const T* __restrict g, const Constants<T>& k) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T gradient = g[i] * k.clip;
    const T m1 = k.beta1 * m[i] + k.one_minus_beta1 * gradient;
    const T v1 = k.beta2 * v[i] + k.one_minus_beta2 * gradient * gradient;
    m[i] = m1;
    v[i] = v1;
    p[i] = p[i] * k.decay - k.step_size * m1 / (std::sqrt(v1) * k.inv_sqrt_correction + k.eps);
  }
}

template <class T>
void average(std::int64_t n, T* __restrict ema, const T* __restrict p, const Constants<T>& k) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) ema[i] = k.mu * ema[i] + k.one_minus_mu * p[i];
}

}  // namespace

template <class T>
double sum_of_squares(CpuContext& ctx, View<T, 1> x) {
  const std::int64_t n = x.extent(0), chunks = (n + kChunk - 1) / kChunk;
  ScratchScope scratch(ctx.scratch());
  auto partial = scratch->vector<double>(std::max<std::int64_t>(chunks, 1));
  parallel_for(ctx, n, kChunk, [&](std::int64_t begin, std::int64_t end, int) {
    constexpr int kLanes = 16;  // fixed lanes, so that the order of additions is the source's, not the vectoriser's
    double lanes[kLanes] = {};
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] += static_cast<double>(x[i + l]) * static_cast<double>(x[i + l]);
    for (; i < end; ++i) lanes[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    double total = 0;
    for (double lane : lanes) total += lane;
    partial[begin / kChunk] = total;
  });
  double total = 0;
  for (std::int64_t c = 0; c < chunks; ++c) total += partial[c];
  return total;
}

template <class T>
void adamw_step(CpuContext& ctx, View<T, 1> param, View<T, 1> m, View<T, 1> v, View<T, 1> ema, ConstView<T, 1> grad, std::span<const AdamWSpan> spans,
                const AdamWOptions& o) {
  const std::int64_t n = param.extent(0);
  GALREC_CHECK(m.extent(0) == n && v.extent(0) == n && grad.extent(0) == n, "arenas of {}, {}, {} for {} parameters", m.extent(0), v.extent(0), grad.extent(0), n);
  GALREC_CHECK(o.step >= 1, "step {} is before the first", o.step);
  std::int64_t at = 0;
  for (const auto& s : spans) {
    GALREC_CHECK(s.offset >= at && s.size >= 0 && s.offset + s.size <= n, "span [{}, +{}) after {} of {}", s.offset, s.size, at, n);
    GALREC_CHECK(s.ema_offset < 0 || s.ema_offset + s.size <= ema.extent(0), "average of span [{}, +{}) at {} of {}", s.offset, s.size, s.ema_offset, ema.extent(0));
    at = s.offset + s.size;
  }
  const double t = static_cast<double>(o.step);
  const double correction1 = 1 - std::pow(o.beta1, t), correction2 = 1 - std::pow(o.beta2, t);
  Constants<T> k{.decay = T(1),
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
  for (const auto& s : spans) {
    k.decay = s.decay ? static_cast<T>(1 - o.lr * o.weight_decay) : T(1);
    parallel_for(ctx, s.size, kChunk, [&, k](std::int64_t begin, std::int64_t end, int) {
      const std::int64_t first = s.offset + begin;
      // A tile that stays in L1 between the update and the average: one pass over memory.
      constexpr std::int64_t kTile = 1024;
      for (std::int64_t i = 0; i < end - begin; i += kTile) {
        const std::int64_t size = std::min(kTile, end - begin - i), e = first + i;
        update(size, param.data + e, m.data + e, v.data + e, grad.data + e, k);
        if (s.ema_offset >= 0) average(size, ema.data + s.ema_offset + begin + i, param.data + e, k);
      }
    });
  }
}

#define GALREC_INSTANTIATE(T)                                                                                                   \
  template double sum_of_squares<T>(CpuContext&, View<T, 1>);                                                                   \
  template void adamw_step<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, View<T, 1>, ConstView<T, 1>,                     \
                              std::span<const AdamWSpan>, const AdamWOptions&);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
