#include "kernels/ranking_loss/ranking_loss.h"

#include "kernels/common/ordered_sum.h"
#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarpSize;
constexpr int kChunkRows = 64;  // rows whose values are summed into one double; a constant of the results

__device__ __forceinline__ float softplus(float x) {
  return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}
__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

/// partial[block] = the sum of value(row), in double, over the block's chunk of rows. Each warp takes every eighth row,
/// all of its lanes get the row's value; the warps' sums are added in order.
template <class F>
__device__ __forceinline__ void sum_chunk(double* partial, std::int64_t rows, const F& value) {
  auto& s = block_shared<BlockScratch<double>>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kChunkRows, end = min(rows, first + kChunkRows);
  double sum = 0;
  for (std::int64_t n = first + warp_id(); n < end; n += kWarps) sum += value(n);
  const double total = block_sum(lane_id() == 0 ? sum : 0.0, s);
  if (thread_id() == 0) partial[blockIdx.x] = total;
}

template <int Width, class T>
__global__ void score_rows(double* partial, float* positive_score, float* negative_score, View<const T, 2> x,
                           View<const T, 2> positive, View<const T, 2> negative, RankingLossKind kind) {
  sum_chunk(partial, x.rows(), [&](std::int64_t n) {
    float up = 0, down = 0;
    for (std::int64_t c = lane_id() * Width; c < x.cols(); c += kWarpSize * Width) {
      float a[Width], p[Width], q[Width];
      load_floats<Width>(x.row(n) + c, a);
      load_floats<Width>(positive.row(n) + c, p);
      load_floats<Width>(negative.row(n) + c, q);
#pragma unroll
      for (int i = 0; i < Width; ++i) {
        up += a[i] * p[i];
        down += a[i] * q[i];
      }
    }
    up = warp_sum(up);
    down = warp_sum(down);
    if (lane_id() == 0) {
      positive_score[n] = up;
      negative_score[n] = down;
    }
    return static_cast<double>(kind == RankingLossKind::kBpr ? softplus(down - up) : softplus(-up) + softplus(down));
  });
}

template <int Width, class T>
__global__ void square_rows(double* partial, View<const T, 2> x) {
  sum_chunk(partial, x.rows(), [&](std::int64_t n) {
    double sum = 0;
    for (std::int64_t c = lane_id() * Width; c < x.cols(); c += kWarpSize * Width) {
      float a[Width];
      load_floats<Width>(x.row(n) + c, a);
#pragma unroll
      for (int i = 0; i < Width; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    }
    return warp_sum(sum);
  });
}

template <class T>
struct Gradients {
  View<T, 2> dx, dpositive, dnegative;
  View<const T, 2> x, positive, negative;
  const float *dloss, *positive_score, *negative_score;
};

template <int Width, class T>
__global__ void spread_rows(Gradients<T> g, RankingLossKind kind, Accumulate accumulate) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id();
  if (n >= g.x.rows()) return;
  const float share = g.dloss[0] / static_cast<float>(g.x.rows());
  const float up = g.positive_score[n], down = g.negative_score[n];
  const bool bpr = kind == RankingLossKind::kBpr;
  const float to_negative = share * sigmoid(bpr ? down - up : down);
  const float to_positive = bpr ? -to_negative : -share * sigmoid(-up);
  for (std::int64_t c = lane_id() * Width; c < g.x.cols(); c += kWarpSize * Width) {
    float x[Width], p[Width], q[Width];
    load_floats<Width>(g.x.row(n) + c, x);
    load_floats<Width>(g.positive.row(n) + c, p);
    load_floats<Width>(g.negative.row(n) + c, q);
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      const float dx = to_positive * p[i] + to_negative * q[i];
      p[i] = to_positive * x[i];
      q[i] = to_negative * x[i];
      x[i] = dx;
    }
    update_floats<Width>(g.dx.row(n) + c, x, accumulate);
    update_floats<Width>(g.dpositive.row(n) + c, p, accumulate);
    update_floats<Width>(g.dnegative.row(n) + c, q, accumulate);
  }
}

std::int64_t chunks_of(std::int64_t rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

template <class X, class P, class N>
void check_rows(const X& x, const P& positive, const N& negative) {
  GALREC_CHECK(positive.shape == x.shape && negative.shape == x.shape, "({}, {}) and ({}, {}) beside x ({}, {})",
               positive.rows(), positive.cols(), negative.rows(), negative.cols(), x.rows(), x.cols());
}

}  // namespace

template <class T>
void ranking_loss_forward(CudaContext& ctx, View<Acc<T>, 1> loss, View<Acc<T>, 1> positive_score,
                          View<Acc<T>, 1> negative_score, ConstView<T, 2> x, ConstView<T, 2> positive,
                          ConstView<T, 2> negative, RankingLossKind kind) {
  const std::int64_t rows = x.rows();
  GALREC_CHECK(rows > 0, "the mean over no rows");
  GALREC_CHECK(loss.extent(0) == 1);
  check_rows(x, positive, negative);
  GALREC_CHECK(positive_score.extent(0) == rows && negative_score.extent(0) == rows, "scores ({}) and ({}) of {} rows",
               positive_score.extent(0), negative_score.extent(0), rows);
  ScratchScope scratch(ctx.scratch());
  const auto partial = scratch->vector<double>(chunks_of(rows));
  constexpr int kWidth = kRowWidth<T>;
  launch(all_in_vectors(kWidth, x, positive, negative) ? score_rows<kWidth, T> : score_rows<1, T>, partial.extent(0),
         kThreads, sizeof(BlockScratch<double>), ctx.stream(), partial.data, positive_score.data, negative_score.data,
         x, positive, negative, kind);
  launch_ordered_sum(ctx, loss.data, partial, 1.0 / static_cast<double>(rows));
}

template <class T>
void ranking_loss_backward(CudaContext& ctx, View<T, 2> dx, View<T, 2> dpositive, View<T, 2> dnegative,
                           ConstView<Acc<T>, 1> dloss, ConstView<T, 2> x, ConstView<T, 2> positive,
                           ConstView<T, 2> negative, ConstView<Acc<T>, 1> positive_score,
                           ConstView<Acc<T>, 1> negative_score, RankingLossKind kind, Accumulate accumulate) {
  const std::int64_t rows = x.rows();
  GALREC_CHECK(rows > 0, "the mean over no rows");
  GALREC_CHECK(dloss.extent(0) == 1, "dloss ({})", dloss.extent(0));
  check_rows(x, positive, negative);
  check_rows(dx, dpositive, dnegative);
  GALREC_CHECK(dx.shape == x.shape, "dx ({}, {}), x ({}, {})", dx.rows(), dx.cols(), rows, x.cols());
  GALREC_CHECK(positive_score.extent(0) == rows && negative_score.extent(0) == rows, "scores ({}) and ({}) of {} rows",
               positive_score.extent(0), negative_score.extent(0), rows);
  const Gradients<T> g{dx,         dpositive,           dnegative,          x, positive, negative,
                       dloss.data, positive_score.data, negative_score.data};
  constexpr int kWidth = kRowWidth<T>;
  launch(all_in_vectors(kWidth, x, positive, negative, dx, dpositive, dnegative) ? spread_rows<kWidth, T>
                                                                                 : spread_rows<1, T>,
         (rows + kWarps - 1) / kWarps, kThreads, 0, ctx.stream(), g, kind, accumulate);
}

template <class T>
void half_squared_sum(CudaContext& ctx, View<Acc<T>, 1> out, ConstView<T, 2> x) {
  GALREC_CHECK(out.extent(0) == 1);
  ScratchScope scratch(ctx.scratch());
  const auto partial = scratch->vector<double>(chunks_of(x.rows()));
  constexpr int kWidth = kRowWidth<T>;
  if (x.rows() > 0) {
    launch(in_vectors(x, kWidth) ? square_rows<kWidth, T> : square_rows<1, T>, partial.extent(0), kThreads,
           sizeof(BlockScratch<double>), ctx.stream(), partial.data, x);
  }
  launch_ordered_sum(ctx, out.data, partial, 0.5);
}

#define GALREC_INSTANTIATE(T)                                                                                     \
  template void ranking_loss_forward<T>(CudaContext&, View<Acc<T>, 1>, View<Acc<T>, 1>, View<Acc<T>, 1>,          \
                                        ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>, RankingLossKind);      \
  template void ranking_loss_backward<T>(CudaContext&, View<T, 2>, View<T, 2>, View<T, 2>, ConstView<Acc<T>, 1>,  \
                                         ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<Acc<T>, 1>, \
                                         ConstView<Acc<T>, 1>, RankingLossKind, Accumulate);                      \
  template void half_squared_sum<T>(CudaContext&, View<Acc<T>, 1>, ConstView<T, 2>);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
