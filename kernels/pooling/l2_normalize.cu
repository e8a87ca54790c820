// Rows over their lengths. A warp takes a row in parts that it holds in registers; a row of one part is read once, a longer one
// twice.

#include "kernels/common/rows_device.h"
#include "kernels/pooling/pooling.h"

namespace galrec {

namespace {

constexpr float kEps = 1e-12f;  // torch.nn.functional.normalize
constexpr int kWarps = 4;

__device__ __forceinline__ std::int64_t warp_row() {
  return static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_id();
}

/// The lane's vectors of the part of a row that starts at `first`; zeros past its end.
template <int Width, int Vectors>
struct Part {
  static constexpr std::int64_t kColumns = Width * Vectors * kWarpSize;
  float at[Vectors][Width] = {};

  /// Calls f(vector, column) where the row has columns.
  template <class F>
  __device__ static __forceinline__ void each(std::int64_t first, std::int64_t cols, F f) {
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const std::int64_t c = first + (v * kWarpSize + lane_id()) * Width;
      if (c < cols) f(v, c);
    }
  }
  template <class T>
  __device__ __forceinline__ void load(const T* row, std::int64_t first, std::int64_t cols) {
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
#pragma unroll
      for (int i = 0; i < Width; ++i) at[v][i] = 0.0f;
    }
    each(first, cols, [&](int v, std::int64_t c) { load_floats<Width>(row + c, at[v]); });
  }
  __device__ __forceinline__ float dot(const Part& other) const {
    float total = 0.0f;
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
#pragma unroll
      for (int i = 0; i < Width; ++i) total += at[v][i] * other.at[v][i];
    }
    return total;
  }
};

template <int Width, int Vectors, class T>
__global__ void __launch_bounds__(kWarps* kWarpSize, 4) normalize_forward_kernel(View<T, 2> y, float* norm, View<const T, 2> x) {
  using RowPart = Part<Width, Vectors>;
  const std::int64_t row = warp_row(), cols = x.cols();
  if (row >= x.rows()) return;
  RowPart part;
  float square = 0.0f;
  for (std::int64_t first = 0; first < cols; first += RowPart::kColumns) {
    part.load(x.row(row), first, cols);
    square += part.dot(part);
  }
  const float length = sqrtf(warp_sum(square));
  const float bounded = length < kEps ? kEps : length;  // a NaN stays one
  if (lane_id() == 0) norm[row] = bounded;
  const float scale = 1.0f / bounded;
  for (std::int64_t first = 0; first < cols; first += RowPart::kColumns) {
    if (cols > RowPart::kColumns) part.load(x.row(row), first, cols);
    RowPart::each(first, cols, [&](int v, std::int64_t c) {
      float out[Width];
#pragma unroll
      for (int i = 0; i < Width; ++i) out[i] = part.at[v][i] * scale;
      store_floats<Width>(y.row(row) + c, out);
    });
  }
}

template <int Width, int Vectors, class T>
__global__ void __launch_bounds__(kWarps* kWarpSize, 4)
    normalize_backward_kernel(View<T, 2> dx, View<const T, 2> dy, View<const T, 2> y, const float* norm, Accumulate accumulate) {
  using RowPart = Part<Width, Vectors>;
  const std::int64_t row = warp_row(), cols = y.cols();
  if (row >= y.rows()) return;
  RowPart g, unit;
  const auto load = [&](std::int64_t first) {
    g.load(dy.row(row), first, cols);
    unit.load(y.row(row), first, cols);
  };
  float along = 0.0f;
  for (std::int64_t first = 0; first < cols; first += RowPart::kColumns) {
    load(first);
    along += g.dot(unit);
  }
  const float length = norm[row], scale = 1.0f / length;
  along = warp_sum(along);
  if (!(length > kEps)) along = 0.0f;  // a row that was shorter than eps was divided by a constant
  for (std::int64_t first = 0; first < cols; first += RowPart::kColumns) {
    if (cols > RowPart::kColumns) load(first);
    RowPart::each(first, cols, [&](int v, std::int64_t c) {
      float out[Width];
#pragma unroll
      for (int i = 0; i < Width; ++i) out[i] = (g.at[v][i] - unit.at[v][i] * along) * scale;
      update_floats<Width>(dx.row(row) + c, out, accumulate);
    });
  }
}

/// Calls f(width, vectors), integral constants, for rows of `cols` columns: up to 32 elements a lane.
template <class T, class F>
void with_part(std::int64_t cols, bool in_vectors, F&& f) {
  constexpr int kWidth = kRowWidth<T>;
  const std::integral_constant<int, kWidth> width;
  const std::int64_t vectors = (cols + kWidth * kWarpSize - 1) / (kWidth * kWarpSize);
  if (!in_vectors) return f(std::integral_constant<int, 1>{}, std::integral_constant<int, 8>{});
  if (vectors <= 1) return f(width, std::integral_constant<int, 1>{});
  if (vectors <= 2) return f(width, std::integral_constant<int, 2>{});
  if constexpr (kWidth == 4) {
    if (vectors > 4) return f(width, std::integral_constant<int, 8>{});
  }
  f(width, std::integral_constant<int, 4>{});
}

}  // namespace

template <class T>
void l2_normalize_forward(CudaContext& ctx, View<T, 2> y, View<Acc<T>, 1> norm, ConstView<T, 2> x) {
  GALREC_CHECK(y.shape == x.shape && norm.extent(0) == x.rows(), "y ({}, {}), norm ({}), x ({}, {})", y.rows(), y.cols(),
               norm.extent(0), x.rows(), x.cols());
  if (x.rows() == 0) return;
  with_part<T>(x.cols(), all_in_vectors(kRowWidth<T>, y, x), [&](auto width, auto vectors) {
    launch(normalize_forward_kernel<width(), vectors(), T>, (x.rows() + kWarps - 1) / kWarps, dim3(kWarps * kWarpSize), 0,
           ctx.stream(), y, norm.data, x);
  });
}

template <class T>
void l2_normalize_backward(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> y, ConstView<Acc<T>, 1> norm,
                           Accumulate accumulate) {
  GALREC_CHECK(dx.shape == y.shape && dy.shape == y.shape && norm.extent(0) == y.rows(),
               "dx ({}, {}), dy ({}, {}), y ({}, {}), norm ({})", dx.rows(), dx.cols(), dy.rows(), dy.cols(), y.rows(), y.cols(),
               norm.extent(0));
  if (y.rows() == 0) return;
  with_part<T>(y.cols(), all_in_vectors(kRowWidth<T>, dx, dy, y), [&](auto width, auto vectors) {
    launch(normalize_backward_kernel<width(), vectors(), T>, (y.rows() + kWarps - 1) / kWarps, dim3(kWarps * kWarpSize), 0,
           ctx.stream(), dx, dy, y, norm.data, accumulate);
  });
}

#define GALREC_INSTANTIATE(T)                                                                                              \
  template void l2_normalize_forward<T>(CudaContext&, View<T, 2>, View<Acc<T>, 1>, ConstView<T, 2>);                       \
  template void l2_normalize_backward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<Acc<T>, 1>, \
                                         Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
