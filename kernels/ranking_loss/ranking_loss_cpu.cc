#include "kernels/ranking_loss/ranking_loss.h"

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/common/vec_math.h"

namespace galrec {

namespace {

constexpr std::int64_t kChunk = 256;         // rows whose losses one thread adds
constexpr std::int64_t kSquareChunk = 16384; // elements of half_squared_sum

template <class T>
T dot(const T* a, const T* b, std::int64_t n) {
  T s = 0;
#pragma omp simd reduction(+ : s)
  for (std::int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

}  // namespace

template <class T>
void ranking_loss_forward(CpuContext& ctx, View<T, 1> loss, View<T, 1> positive_score, View<T, 1> negative_score, ConstView<T, 2> x,
                          ConstView<T, 2> positive, ConstView<T, 2> negative, RankingLossKind kind) {
  const std::int64_t n = x.rows(), c = x.cols();
  GALREC_CHECK(n > 0 && loss.extent(0) == 1, "{} rows, loss ({})", n, loss.extent(0));
  GALREC_CHECK(positive.rows() == n && positive.cols() == c && negative.rows() == n && negative.cols() == c, "positive ({}, {}), negative ({}, {}) for ({}, {})",
               positive.rows(), positive.cols(), negative.rows(), negative.cols(), n, c);
  GALREC_CHECK(positive_score.extent(0) == n && negative_score.extent(0) == n);
  ScratchScope scratch(ctx.scratch());
  const std::int64_t chunks = (n + kChunk - 1) / kChunk;
  auto partial = scratch->vector<double>(chunks);
  parallel_for(ctx, n, kChunk, [&](std::int64_t begin, std::int64_t end, int) {
    double total = 0;
    for (std::int64_t r = begin; r < end; ++r) {
      const T sp = dot(x.row(r), positive.row(r), c), sn = dot(x.row(r), negative.row(r), c);
      positive_score[r] = sp;
      negative_score[r] = sn;
      total += static_cast<double>(kind == RankingLossKind::kBpr ? vec::softplus(sn - sp) : vec::softplus(-sp) + vec::softplus(sn));
    }
    partial[begin / kChunk] = total;
  });
  double total = 0;
  for (std::int64_t k = 0; k < chunks; ++k) total += partial[k];
  loss[0] = static_cast<T>(total / static_cast<double>(n));
}

template <class T>
void ranking_loss_backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dpositive, View<T, 2> dnegative, double dloss, ConstView<T, 2> x,
                           ConstView<T, 2> positive, ConstView<T, 2> negative, ConstView<T, 1> positive_score, ConstView<T, 1> negative_score,
                           RankingLossKind kind, Accumulate accumulate) {
  const std::int64_t n = x.rows(), c = x.cols();
  for (const auto& v : {dx, dpositive, dnegative}) GALREC_CHECK(v.rows() == n && v.cols() == c, "a gradient is ({}, {}), expected ({}, {})", v.rows(), v.cols(), n, c);
  GALREC_CHECK(positive_score.extent(0) == n && negative_score.extent(0) == n);
  const T g = static_cast<T>(dloss / static_cast<double>(n));
  const T keep = accumulate == Accumulate::kAdd ? T(1) : T(0);
  parallel_for(ctx, n, kChunk, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T sp = positive_score[r], sn = negative_score[r];
      T cp, cn;  // d loss / d s+, d loss / d s-
      if (kind == RankingLossKind::kBpr) {
        cn = g * vec::sigmoid(sn - sp);
        cp = -cn;
      } else {
        cp = -g * vec::sigmoid(-sp);
        cn = g * vec::sigmoid(sn);
      }
      const T *in = x.row(r), *p = positive.row(r), *q = negative.row(r);
      T *ox = dx.row(r), *op = dpositive.row(r), *on = dnegative.row(r);
      if (keep == T(0)) {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) {
          ox[i] = cp * p[i] + cn * q[i];
          op[i] = cp * in[i];
          on[i] = cn * in[i];
        }
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < c; ++i) {
          ox[i] += cp * p[i] + cn * q[i];
          op[i] += cp * in[i];
          on[i] += cn * in[i];
        }
      }
    }
  });
}

template <class T>
void half_squared_sum(CpuContext& ctx, View<T, 1> out, ConstView<T, 2> x) {
  GALREC_CHECK(out.extent(0) == 1);
  const std::int64_t c = x.cols(), grain = std::max<std::int64_t>(1, kSquareChunk / std::max<std::int64_t>(c, 1));
  ScratchScope scratch(ctx.scratch());
  const std::int64_t chunks = (x.rows() + grain - 1) / grain;
  auto partial = scratch->vector<double>(std::max<std::int64_t>(chunks, 1));
  parallel_for(ctx, x.rows(), grain, [&](std::int64_t begin, std::int64_t end, int) {
    double total = 0;
    for (std::int64_t r = begin; r < end; ++r) total += static_cast<double>(dot(x.row(r), x.row(r), c));
    partial[begin / grain] = total;
  });
  double total = 0;
  for (std::int64_t k = 0; k < chunks; ++k) total += partial[k];
  out[0] = static_cast<T>(0.5 * total);
}

#define GALREC_INSTANTIATE(T)                                                                                                              \
  template void ranking_loss_forward<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, ConstView<T, 2>, ConstView<T, 2>,                 \
                                        ConstView<T, 2>, RankingLossKind);                                                                 \
  template void ranking_loss_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 2>, double, ConstView<T, 2>, ConstView<T, 2>,        \
                                         ConstView<T, 2>, ConstView<T, 1>, ConstView<T, 1>, RankingLossKind, Accumulate);                  \
  template void half_squared_sum<T>(CpuContext&, View<T, 1>, ConstView<T, 2>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
