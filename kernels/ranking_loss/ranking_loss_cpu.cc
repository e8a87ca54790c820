#include "kernels/ranking_loss/ranking_loss.h"

#include "kernels/common/rows.h"
#include "kernels/common/vec_math.h"

namespace galrec {

namespace {

// Sum over rows of row_value(n), in chunks that depend on the shape only: partial sums in double, added in chunk order.
template <class T, class F>
double sum_rows(CpuContext& ctx, std::int64_t rows, std::int64_t cols, F&& row_value) {
  if (rows == 0) return 0;
  const std::int64_t grain = row_grain<T>(cols), chunks = (rows + grain - 1) / grain;
  ScratchScope scratch(ctx.scratch());
  double* partial = scratch->alloc<double>(chunks);
  parallel_for(ctx, rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    double sum = 0;
    for (std::int64_t n = begin; n < end; ++n) sum += row_value(n);
    partial[begin / grain] = sum;
  });
  double sum = 0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk];
  return sum;
}

}  // namespace

template <class T>
void ranking_loss_forward(CpuContext& ctx, View<T, 1> loss, View<T, 1> positive_score, View<T, 1> negative_score,
                          ConstView<T, 2> x, ConstView<T, 2> positive, ConstView<T, 2> negative, RankingLossKind kind) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  GALREC_CHECK(rows > 0, "the mean over no rows");
  GALREC_CHECK(loss.extent(0) == 1);
  GALREC_CHECK(same_shape(positive, x) && same_shape(negative, x), "positive ({}, {}), negative ({}, {}), x ({}, {})",
               positive.rows(), positive.cols(), negative.rows(), negative.cols(), rows, cols);
  GALREC_CHECK(positive_score.extent(0) == rows && negative_score.extent(0) == rows, "scores ({}) and ({}) of {} rows",
               positive_score.extent(0), negative_score.extent(0), rows);
  const double sum = sum_rows<T>(ctx, rows, cols, [&](std::int64_t n) -> double {
    const T* xn = x.row(n);
    const T* p = positive.row(n);
    const T* q = negative.row(n);
    const T up = lane_sum<T>(cols, [xn, p](std::int64_t c) { return xn[c] * p[c]; });
    const T down = lane_sum<T>(cols, [xn, q](std::int64_t c) { return xn[c] * q[c]; });
    positive_score[n] = up;
    negative_score[n] = down;
    return kind == RankingLossKind::kBpr ? vec::softplus(down - up) : vec::softplus(-up) + vec::softplus(down);
  });
  loss[0] = static_cast<T>(sum / static_cast<double>(rows));
}

template <class T>
void ranking_loss_backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dpositive, View<T, 2> dnegative,
                           ConstView<T, 1> dloss, ConstView<T, 2> x, ConstView<T, 2> positive, ConstView<T, 2> negative,
                           ConstView<T, 1> positive_score, ConstView<T, 1> negative_score, RankingLossKind kind,
                           Accumulate accumulate) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  GALREC_CHECK(rows > 0, "the mean over no rows");
  GALREC_CHECK(same_shape(positive, x) && same_shape(negative, x), "positive ({}, {}), negative ({}, {}), x ({}, {})",
               positive.rows(), positive.cols(), negative.rows(), negative.cols(), rows, cols);
  GALREC_CHECK(same_shape(dx, x) && same_shape(dpositive, x) && same_shape(dnegative, x),
               "dx ({}, {}), dpositive ({}, {}), dnegative ({}, {}), x ({}, {})", dx.rows(), dx.cols(),
               dpositive.rows(), dpositive.cols(), dnegative.rows(), dnegative.cols(), rows, cols);
  GALREC_CHECK(positive_score.extent(0) == rows && negative_score.extent(0) == rows, "scores ({}) and ({}) of {} rows",
               positive_score.extent(0), negative_score.extent(0), rows);
  GALREC_CHECK(dloss.extent(0) == 1, "dloss ({})", dloss.extent(0));
  const T g = static_cast<T>(static_cast<double>(dloss[0]) / static_cast<double>(rows));
  parallel_for(ctx, rows, row_grain<T>(cols), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const T up = positive_score[n], down = negative_score[n];
      // d loss / d s+ and d loss / d s-; for BPR they are opposite.
      const bool bpr = kind == RankingLossKind::kBpr;
      const T to_negative = g * vec::sigmoid(bpr ? down - up : down);
      const T to_positive = bpr ? -to_negative : -g * vec::sigmoid(-up);
      const T* xn = x.row(n);
      const T* p = positive.row(n);
      const T* q = negative.row(n);
      T* out_x = dx.row(n);
      T* out_p = dpositive.row(n);
      T* out_q = dnegative.row(n);
      if (accumulate == Accumulate::kAdd) {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) {
          out_x[c] += to_positive * p[c] + to_negative * q[c];
          out_p[c] += to_positive * xn[c];
          out_q[c] += to_negative * xn[c];
        }
      } else {
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) {
          out_x[c] = to_positive * p[c] + to_negative * q[c];
          out_p[c] = to_positive * xn[c];
          out_q[c] = to_negative * xn[c];
        }
      }
    }
  });
}

template <class T>
void half_squared_sum(CpuContext& ctx, View<T, 1> out, ConstView<T, 2> x) {
  GALREC_CHECK(out.extent(0) == 1);
  const double sum = sum_rows<T>(ctx, x.rows(), x.cols(), [&](std::int64_t n) -> double {
    const T* xn = x.row(n);
    return lane_sum<T>(x.cols(), [xn](std::int64_t c) { return xn[c] * xn[c]; });
  });
  out[0] = static_cast<T>(0.5 * sum);
}

#define GALREC_INSTANTIATE(T)                                                                                \
  template void ranking_loss_forward<T>(CpuContext&, View<T, 1>, View<T, 1>, View<T, 1>, ConstView<T, 2>,    \
                                        ConstView<T, 2>, ConstView<T, 2>, RankingLossKind);                  \
  template void ranking_loss_backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 2>, ConstView<T, 1>,   \
                                         ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, \
                                         ConstView<T, 1>, RankingLossKind, Accumulate);                      \
  template void half_squared_sum<T>(CpuContext&, View<T, 1>, ConstView<T, 2>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
