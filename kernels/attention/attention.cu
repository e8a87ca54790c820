// The entry points of attention on CUDA: shapes checked, arguments gathered, kernels chosen by type.

#include "kernels/attention/attention.h"

#include "kernels/attention/attention_ffma.h"
#include "kernels/attention/attention_mma.h"
#include "kernels/attention/attention_passes_device.h"
#include "kernels/common/launch.h"
#include "kernels/common/rows_device.h"

namespace galrec {

using namespace attention_cuda;

namespace {

template <class T>
Common check_problem(View<const T, 2> q, View<const T, 2> k, View<const T, 2> v, View<const std::int32_t, 1> cu_q,
                     View<const std::int32_t, 1> cu_k, View<const float, 2> table, const RelativeBuckets& buckets,
                     const AttentionOptions& options) {
  GALREC_CHECK(options.heads > 0 && q.cols() > 0 && q.cols() % options.heads == 0, "{} columns for {} heads", q.cols(),
               options.heads);
  GALREC_CHECK(k.shape == v.shape && k.cols() == q.cols(), "q ({}, {}), k ({}, {}), v ({}, {})", q.rows(), q.cols(),
               k.rows(), k.cols(), v.rows(), v.cols());
  GALREC_CHECK(cu_q.extent(0) >= 1 && cu_q.extent(0) == cu_k.extent(0), "{} and {} offsets", cu_q.extent(0),
               cu_k.extent(0));
  const std::int64_t dim = q.cols() / options.heads;
  GALREC_CHECK(options.scale > 0, "scale {}; CUDA kernels take a positive one", options.scale);
  GALREC_CHECK(dim <= kMaxDim, "heads of {}; CUDA kernels take at most {}", dim, kMaxDim);
  GALREC_CHECK(std::max(q.rows(), k.rows()) < (std::int64_t{1} << 31), "{} queries, {} keys: offsets are int32",
               q.rows(), k.rows());
  Common common{.heads = options.heads,
                .dim = static_cast<int>(dim),
                .cu_q = cu_q.data,
                .cu_k = cu_k.data,
                .mask = options.mask,
                .access = Access::kScalar,
                .scale = static_cast<float>(options.scale),
                .bias = {},
                .dropout = DropoutMask(options.dropout)};
  if (table.empty()) return common;
  GALREC_CHECK(table.cols() == options.heads, "a bias table of {} columns for {} heads", table.cols(), options.heads);
  GALREC_CHECK(buckets.index.extent(0) % 2 == 1, "{} bucket indices: expected an odd number, one per distance",
               buckets.index.extent(0));
  GALREC_CHECK(buckets.max_distance() <= kMaxReach,
               "biases that change up to distance {}; CUDA kernels take at most {}", buckets.max_distance(), kMaxReach);
  common.bias = {table.data, table.stride[0], buckets.index.data, static_cast<int>(buckets.max_distance()),
                 static_cast<int>(table.rows())};
  return common;
}

Extents extents_of(std::int64_t offsets, std::int64_t tq, std::int64_t tk) {
  return {offsets - 1, tq, tk};
}

template <class T, class... Views>
Access access_of(const Common& common, const Views&... views) {
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  return common.dim % kWidth == 0 && all_in_vectors(kWidth, views...) ? Access::kVector : Access::kScalar;
}

}  // namespace

template <class T>
void attention_forward(CudaContext& ctx, View<T, 2> o, View<Acc<T>, 2> lse, ConstView<T, 2> q, ConstView<T, 2> k,
                       ConstView<T, 2> v, View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k,
                       ConstView<Acc<T>, 2> table, const RelativeBuckets& buckets, const AttentionOptions& options) {
  ForwardArgs<T> args{check_problem<T>(q, k, v, cu_q, cu_k, table, buckets, options),
                      rows_of(o),
                      rows_of(lse),
                      rows_of(q),
                      rows_of(k),
                      rows_of(v)};
  GALREC_CHECK(o.shape == q.shape, "o ({}, {}), q ({}, {})", o.rows(), o.cols(), q.rows(), q.cols());
  GALREC_CHECK(lse.rows() == q.rows() && lse.cols() == options.heads, "lse ({}, {}) of {} queries, {} heads",
               lse.rows(), lse.cols(), q.rows(), options.heads);
  if (q.rows() == 0) return;
  args.common.access = access_of<T>(args.common, o, q, k, v);
  const Extents extents = extents_of(cu_q.extent(0), q.rows(), k.rows());
  if constexpr (std::is_same_v<T, bfloat16>) {
    mma_forward(ctx, args, extents);
  } else {
    ffma_forward(ctx, args, extents);
  }
}

template <class T>
void attention_backward(CudaContext& ctx, View<T, 2> dq, View<T, 2> dk, View<T, 2> dv, View<Acc<T>, 2> dtable,
                        ConstView<T, 2> dout, ConstView<T, 2> q, ConstView<T, 2> k, ConstView<T, 2> v,
                        ConstView<T, 2> o, ConstView<Acc<T>, 2> lse, View<const std::int32_t, 1> cu_q,
                        View<const std::int32_t, 1> cu_k, ConstView<Acc<T>, 2> table, const RelativeBuckets& buckets,
                        const AttentionOptions& options, Accumulate dqkv_accumulate, Accumulate dtable_accumulate) {
  BackwardArgs<T> args{.common = check_problem<T>(q, k, v, cu_q, cu_k, table, buckets, options),
                       .dq = rows_of(dq),
                       .dk = rows_of(dk),
                       .dv = rows_of(dv),
                       .dout = rows_of(dout),
                       .q = rows_of(q),
                       .k = rows_of(k),
                       .v = rows_of(v),
                       .accumulate = dqkv_accumulate};
  GALREC_CHECK(o.shape == q.shape && dout.shape == q.shape && dq.shape == q.shape,
               "o, dout and dq must have the shape of q ({}, {})", q.rows(), q.cols());
  GALREC_CHECK(dk.shape == k.shape && dv.shape == k.shape, "dk and dv must have the shape of k ({}, {})", k.rows(),
               k.cols());
  GALREC_CHECK(lse.rows() == q.rows() && lse.cols() == options.heads, "lse ({}, {}) of {} queries, {} heads",
               lse.rows(), lse.cols(), q.rows(), options.heads);
  const bool table_gradient = !dtable.empty();
  GALREC_CHECK(!table_gradient || dtable.shape == table.shape, "dtable ({}, {}), table ({}, {})", dtable.rows(),
               dtable.cols(), table.rows(), table.cols());
  Common& common = args.common;
  const Extents extents = extents_of(cu_q.extent(0), q.rows(), k.rows());
  common.access = access_of<T>(common, dq, dk, dv, dout, q, k, v, o);

  ScratchScope scratch(ctx.scratch());
  const std::int64_t slots = slot_count(extents.batch, extents.tq);
  if (table_gradient) {
    const std::int64_t shares = slots * common.heads * common.bias.buckets;
    args.partial = scratch->alloc<float>(shares);
    if (shares > 0) ctx.memory().clear(args.partial, static_cast<std::size_t>(shares) * sizeof(float));
  }
  if (extents.tq > 0) {
    auto* stats = scratch->alloc<RowStats>(extents.tq * common.heads);
    row_stats<T>(ctx, stats, common, extents.tq, args.dout, rows_of(o), rows_of(lse));
    args.stats = stats;
    args.tq = extents.tq;
  }
  if (extents.tq + extents.tk > 0) {
    if constexpr (std::is_same_v<T, bfloat16>) {
      mma_backward(ctx, args, extents);
    } else {
      ffma_backward(ctx, args, extents);
    }
  }
  if (table_gradient) reduce_table(ctx, dtable, args.partial, slots, dtable_accumulate);
}

#define GALREC_INSTANTIATE(T)                                                                                     \
  template void attention_forward<T>(CudaContext&, View<T, 2>, View<Acc<T>, 2>, ConstView<T, 2>, ConstView<T, 2>, \
                                     ConstView<T, 2>, View<const std::int32_t, 1>, View<const std::int32_t, 1>,   \
                                     ConstView<Acc<T>, 2>, const RelativeBuckets&, const AttentionOptions&);      \
  template void attention_backward<T>(CudaContext&, View<T, 2>, View<T, 2>, View<T, 2>, View<Acc<T>, 2>,          \
                                      ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 2>,         \
                                      ConstView<T, 2>, ConstView<Acc<T>, 2>, View<const std::int32_t, 1>,         \
                                      View<const std::int32_t, 1>, ConstView<Acc<T>, 2>, const RelativeBuckets&,  \
                                      const AttentionOptions&, Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
