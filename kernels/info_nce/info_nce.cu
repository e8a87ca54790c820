// InfoNCE on the device: the forward pass, and the last step of backward.

#include "kernels/info_nce/info_nce.h"

#include "kernels/common/rows_device.h"
#include "kernels/info_nce/info_nce_device.h"

namespace galrec {

namespace {

// The negatives of one anchor so far: their largest score and sum_q exp(s_q - top).
struct Negatives {
  float top = -INFINITY;
  float sum = 0;

  __device__ __forceinline__ void add(const Negatives& other) {
    const float larger = max(top, other.top);
    sum = rescaled(*this, larger) + rescaled(other, larger);
    top = larger;
  }

 private:
  // A NaN stays one; where all is masked there is nothing to scale.
  __device__ __forceinline__ static float rescaled(const Negatives& n, float top) {
    return n.top == -INFINITY ? n.sum : n.sum * exp2_approx((n.top - top) * kLog2E);
  }
};

template <class T, int kRows>
struct StatisticsShared {
  using Tile = ScoreTile<T, kRows>;
  typename Tile::Panels panels;
  Negatives part[Tile::kRowWarps][kRows];
};

// One block: the scores of kRows anchors and kTileColumns queue rows. negatives ((tiles, N)) gets the tile's share of each anchor.
template <class T, int kRows, RowAccess kAccess>
__global__ void __launch_bounds__(kTileThreads, std::is_same_v<T, bfloat16> ? 2 : 1)
    statistics_kernel(Negatives* negatives, NceOperands<T> o) {
  using Tile = ScoreTile<T, kRows>;
  auto& s = block_shared<StatisticsShared<T, kRows>>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kRows;
  const std::int64_t key = static_cast<std::int64_t>(blockIdx.x) * kTileColumns;
  Tile tile;
  tile.template compute<kAccess>(s.panels, RowsFrom<T>(o.anchor, first), RowsFrom<T>(o.queue, key), static_cast<int>(o.cols()));
  std::int32_t id[Tile::kThreadColumns];
  unsigned inside = 0;
#pragma unroll
  for (int j = 0; j < Tile::kThreadColumns; ++j) {
    const std::int64_t at = key + Tile::column(j);
    id[j] = at < o.queue_rows() ? o.queue_ids[at] : 0;
    inside |= (at < o.queue_rows() ? 1u : 0u) << static_cast<unsigned>(j);
  }
#pragma unroll
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const int row = Tile::row(i);
    const std::int32_t own = first + row < o.anchors() ? o.own_ids[first + row] : 0;
    Negatives mine;
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; ++j) {
      const bool masked = (inside >> static_cast<unsigned>(j) & 1u) == 0 || id[j] == own;
      tile.at(i, j) = masked ? -INFINITY : tile.at(i, j) * o.inverse_tau;
      mine.top = max(mine.top, tile.at(i, j));
    }
    mine.top = warp_max<Tile::kRowLanes>(mine.top);
    const float shift = mine.top == -INFINITY ? 0.0f : mine.top;
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; ++j) mine.sum += exp2_approx((tile.at(i, j) - shift) * kLog2E);
    mine.sum = warp_sum<Tile::kRowLanes>(mine.sum);
    if (lane_id() % Tile::kRowLanes == 0) s.part[Tile::row_warp()][row] = mine;
  }
  __syncthreads();
  for (int row = thread_id(); row < kRows && first + row < o.anchors(); row += kTileThreads) {
    Negatives all = s.part[0][row];
    for (int w = 1; w < Tile::kRowWarps; ++w) all.add(s.part[w][row]);
    negatives[blockIdx.x * o.anchors() + first + row] = all;
  }
}

constexpr int kMergeWarps = 8;

struct MergeShared {
  Negatives part[kMergeWarps][kWarpSize];
  float positive[kWarpSize];
};

struct NceOutputs {
  View<float, 1> losses, lse, positive_score, hardest;
};

// One block: 32 anchors. The positive's score by a warp an anchor; the tiles' shares by a lane an anchor, in a fixed order.
template <class T>
__global__ void __launch_bounds__(kMergeWarps* kWarpSize)
    merge_kernel(NceOutputs out, const Negatives* negatives, std::int64_t tiles, NceOperands<T> o) {
  auto& s = block_shared<MergeShared>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kWarpSize;
  for (int r = warp_id(); r < kWarpSize && first + r < o.anchors(); r += kMergeWarps) {
    const T *a = o.anchor.row(first + r), *p = o.positive.row(first + r);
    float dot = 0;
    for (std::int64_t c = lane_id(); c < o.cols(); c += kWarpSize) dot = __fmaf_rn(to_float(a[c]), to_float(p[c]), dot);
    dot = warp_sum(dot);
    if (lane_id() == 0) s.positive[r] = dot * o.inverse_tau;
  }
  const std::int64_t n = first + lane_id();
  Negatives mine;
  if (n < o.anchors()) {
    for (std::int64_t t = warp_id(); t < tiles; t += kMergeWarps) mine.add(negatives[t * o.anchors() + n]);
  }
  s.part[warp_id()][lane_id()] = mine;
  __syncthreads();
  if (warp_id() > 0 || n >= o.anchors()) return;
  for (int w = 1; w < kMergeWarps; ++w) mine.add(s.part[w][lane_id()]);
  const float positive = s.positive[lane_id()], top = mine.top;
  // Measured from the positive where that is the largest score: small losses keep their relative accuracy.
  const float loss = top > positive ? (top - positive) + logf(mine.sum + expf(positive - top))
                                    : log1pf(mine.sum > 0 ? mine.sum * expf(top - positive) : mine.sum);
  out.losses[n] = loss;
  out.lse[n] = positive + loss;
  out.positive_score[n] = positive;
  out.hardest[n] = top;
}

struct MeanShared {
  BlockScratch<double> scratch;
};

__global__ void __launch_bounds__(256) mean_kernel(View<float, 1> loss, View<const float, 1> losses) {
  auto& s = block_shared<MeanShared>();
  double sum = 0;
  for (std::int64_t n = thread_id(); n < losses.extent(0); n += block_threads()) sum += static_cast<double>(losses[n]);
  sum = block_sum(sum, s.scratch);
  if (thread_id() == 0) loss[0] = static_cast<float>(sum / static_cast<double>(losses.extent(0)));
}

// danchor = g (sum_splits gradient - pull p), dpositive = -g pull a, where pull = sum_splits pull.
template <int kWidth, class T>
struct FinishBackward {
  View<T, 2> danchor, dpositive;
  View<const T, 2> anchor, positive;
  NcePartials partials;
  const float* dloss;
  float scale;  // 1 / (N tau)
  Accumulate danchor_accumulate, dpositive_accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const auto splits = static_cast<int>(partials.pull.rows());
    const float g = scale * dloss[0];
    float sum[kWidth] = {}, pull = 0;
    if (splits > 0) {
      const float *gradient = partials.gradient.row(row) + column, *share = partials.pull.data + row;
      const std::int64_t to_next = anchor.rows() * partials.gradient.stride[0];
#pragma unroll 2
      for (int split = 0; split < splits; ++split, gradient += to_next, share += anchor.rows()) {
        float part[kWidth];
        load_floats<kWidth>(gradient, part);
#pragma unroll
        for (int i = 0; i < kWidth; ++i) sum[i] += part[i];
        pull += *share;
      }
    }
    float other[kWidth];
    load_floats<kWidth>(positive.row(row) + column, other);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] = g * (sum[i] - pull * other[i]);
    update_floats<kWidth>(danchor.row(row) + column, sum, danchor_accumulate);
    if (!dpositive) return;
    load_floats<kWidth>(anchor.row(row) + column, other);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] = -g * pull * other[i];
    update_floats<kWidth>(dpositive.row(row) + column, sum, dpositive_accumulate);
  }
};

template <int kRows, class T>
void launch_statistics(CudaContext& ctx, Negatives* negatives, std::int64_t tiles, const NceOperands<T>& o) {
  const bool vector = row_access(o.anchor, o.queue) == RowAccess::kVector;
  const std::int64_t blocks = (o.anchors() + kRows - 1) / kRows;
  GALREC_CHECK(blocks <= 65535, "{} anchors", o.anchors());
  launch(vector ? statistics_kernel<T, kRows, RowAccess::kVector> : statistics_kernel<T, kRows, RowAccess::kScalar>,
         dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(blocks)), kTileThreads, sizeof(StatisticsShared<T, kRows>),
         ctx.stream(), negatives, o);
}

}  // namespace

template <class T>
void info_nce_forward(CudaContext& ctx, View<Acc<T>, 1> loss, View<Acc<T>, 1> losses, View<Acc<T>, 1> lse,
                      View<Acc<T>, 1> positive_score, View<Acc<T>, 1> hardest, ConstView<T, 2> anchor, ConstView<T, 2> positive,
                      ConstView<T, 2> queue, View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids,
                      double tau) {
  const NceOperands<T> o = checked_operands<T>(anchor, positive, queue, queue_ids, own_ids, tau);
  const std::int64_t n = anchor.rows(), tiles = (o.queue_rows() + kTileColumns - 1) / kTileColumns;
  GALREC_CHECK(loss.extent(0) == 1, "loss ({})", loss.extent(0));
  for (const auto& out : {losses, lse, positive_score, hardest}) {
    GALREC_CHECK(out.extent(0) == n, "an output has {} elements, expected {}", out.extent(0), n);
  }
  ScratchScope scratch(ctx.scratch());
  Negatives* negatives = tiles > 0 ? scratch->alloc<Negatives>(tiles * n) : nullptr;
  if (tiles > 0) {
    if (tile_rows(n) == 64)
      launch_statistics<64>(ctx, negatives, tiles, o);
    else
      launch_statistics<128>(ctx, negatives, tiles, o);
  }
  launch(merge_kernel<T>, (n + kWarpSize - 1) / kWarpSize, kMergeWarps * kWarpSize, sizeof(MergeShared), ctx.stream(),
         NceOutputs{losses, lse, positive_score, hardest}, static_cast<const Negatives*>(negatives), tiles, o);
  launch(mean_kernel, 1, 256, sizeof(MeanShared), ctx.stream(), loss, View<const float, 1>(losses));
}

template <class T>
void info_nce_backward(CudaContext& ctx, View<T, 2> danchor, View<T, 2> dpositive, ConstView<Acc<T>, 1> dloss,
                       ConstView<T, 2> anchor, ConstView<T, 2> positive, ConstView<T, 2> queue,
                       View<const std::int32_t, 1> queue_ids, View<const std::int32_t, 1> own_ids, ConstView<Acc<T>, 1> lse,
                       double tau, Accumulate danchor_accumulate, Accumulate dpositive_accumulate) {
  const NceOperands<T> o = checked_operands<T>(anchor, positive, queue, queue_ids, own_ids, tau);
  const std::int64_t n = anchor.rows(), c = anchor.cols();
  GALREC_CHECK(danchor.rows() == n && danchor.cols() == c, "danchor is ({}, {}), expected ({}, {})", danchor.rows(), danchor.cols(),
               n, c);
  GALREC_CHECK(!dpositive || (dpositive.rows() == n && dpositive.cols() == c), "dpositive is ({}, {}), expected ({}, {})",
               dpositive.rows(), dpositive.cols(), n, c);
  GALREC_CHECK(lse.extent(0) == n, "lse ({}) for {} anchors", lse.extent(0), n);
  GALREC_CHECK(dloss.extent(0) == 1, "dloss ({})", dloss.extent(0));
  ScratchScope scratch(ctx.scratch());
  NcePartials partials;
  if (o.queue_rows() > 0) partials = queue_gradient(ctx, *scratch, o, lse);
  const auto finish = [&]<int kWidth>(std::integral_constant<int, kWidth>) {
    for_pieces<kWidth>(ctx, n, c,
                       FinishBackward<kWidth, T>{danchor, dpositive, anchor, positive, partials, dloss.data,
                                                 static_cast<float>(1 / (static_cast<double>(n) * tau)), danchor_accumulate,
                                                 dpositive_accumulate});
  };
  constexpr int kWidth = kRowWidth<T, float>;
  if (all_in_vectors(kWidth, danchor, dpositive, anchor, positive))
    finish(std::integral_constant<int, kWidth>{});
  else
    finish(std::integral_constant<int, 1>{});
}

#define GALREC_INSTANTIATE(T)                                                                                                      \
  template void info_nce_forward<T>(CudaContext&, View<Acc<T>, 1>, View<Acc<T>, 1>, View<Acc<T>, 1>, View<Acc<T>, 1>,              \
                                    View<Acc<T>, 1>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>,                            \
                                    View<const std::int32_t, 1>, View<const std::int32_t, 1>, double);                             \
  template void info_nce_backward<T>(CudaContext&, View<T, 2>, View<T, 2>, ConstView<Acc<T>, 1>, ConstView<T, 2>, ConstView<T, 2>, \
                                     ConstView<T, 2>, View<const std::int32_t, 1>, View<const std::int32_t, 1>,                    \
                                     ConstView<Acc<T>, 1>, double, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
