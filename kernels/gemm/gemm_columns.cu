// The column-wise companions of a linear layer.

#include "kernels/common/slabs_device.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

template <int kWidth, class T>
struct AddBias {
  View<T, 2> y;
  View<const float, 1> bias;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    float value[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      constexpr int kPart = kWidth < 4 ? kWidth : 4;
      float part[kPart];
      load_floats<kPart>(bias.data + column + i, part);
#pragma unroll
      for (int e = 0; e < kPart; ++e) value[i + e] = part[e];
    }
    update_floats<kWidth>(y.row(row) + column, value, Accumulate::kAdd);
  }
};

constexpr std::int64_t kColumnSlab = 128;  // rows that one thread adds

/// Body of for_pieces over (slabs, columns): a thread walks down its columns of one slab.
template <int kWidth, class T>
struct SumColumns {
  View<float, 2> slabs;
  View<const T, 2> x;

  __device__ void operator()(std::int64_t slab, std::int64_t column) const {
    const std::int64_t end = min((slab + 1) * kColumnSlab, x.rows());
    float sum[kWidth] = {};
    for (std::int64_t row = slab * kColumnSlab; row < end; ++row) {
      float value[kWidth];
      load_floats<kWidth>(x.row(row) + column, value);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum[e] += value[e];
    }
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      constexpr int kPart = kWidth < 4 ? kWidth : 4;
      float part[kPart];
#pragma unroll
      for (int e = 0; e < kPart; ++e) part[e] = sum[i + e];
      if constexpr (kUnordered) {
        for (int e = 0; e < kPart; ++e) add_unordered(slabs.row(slab) + column + i + e, part[e]);
      } else {
        store_floats<kPart>(slabs.row(slab) + column + i, part);
      }
    }
  }
};

}  // namespace

template <class T>
void add_bias(CudaContext& ctx, View<T, 2> y, ConstView<Acc<T>, 1> bias) {
  GALREC_CHECK(bias.extent(0) == y.cols(), "bias ({}) on columns ({})", bias.extent(0), y.cols());
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  if (in_vectors(y, kWidth) && in_vectors(bias, 4)) {
    for_pieces<kWidth>(ctx, y.rows(), y.cols(), AddBias<kWidth, T>{y, bias});
  } else {
    for_pieces<1>(ctx, y.rows(), y.cols(), AddBias<1, T>{y, bias});
  }
}

template <class T>
void column_sum(CudaContext& ctx, View<Acc<T>, 1> out, ConstView<T, 2> x, Accumulate accumulate) {
  const std::int64_t cols = x.cols(), count = (x.rows() + kColumnSlab - 1) / kColumnSlab;
  GALREC_CHECK(out.extent(0) == cols, "out ({}), columns ({})", out.extent(0), cols);
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  ScratchScope scratch(ctx.scratch());
  const View<float, 2> slabs = partial_rows(ctx, *scratch, out, count, accumulate);
  if (in_vectors(x, kWidth)) {
    for_pieces<kWidth>(ctx, count, cols, SumColumns<kWidth, T>{slabs, x});
  } else {
    for_pieces<1>(ctx, count, cols, SumColumns<1, T>{slabs, x});
  }
  sum_slabs(ctx, out, slabs, accumulate);
}

#define GALREC_INSTANTIATE(T)                                               \
  template void add_bias<T>(CudaContext&, View<T, 2>, ConstView<Acc<T>, 1>); \
  template void column_sum<T>(CudaContext&, View<Acc<T>, 1>, ConstView<T, 2>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
