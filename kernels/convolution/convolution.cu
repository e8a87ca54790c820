// Convolution on CUDA: cuDNN where it does what the contract wants, else patches of the images beside each other and gemm().

#include "kernels/convolution/convolution.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/rows_device.h"
#include "kernels/convolution/convolution_device.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

constexpr std::int64_t kSlabBytes = std::int64_t{8} << 20;  // of patches: they stay in the L2 cache until they are read

/// 32 bits: divisions of 64 would take longer than the accesses.
struct Pair {
  int h, w;
};
struct Geometry {
  int channels, pixels, outputs;
  Pair image, out, kernel, stride, padding, dilation;

  explicit Geometry(const ConvolutionGeometry& g)
      : channels(static_cast<int>(g.channels)),
        pixels(static_cast<int>(g.pixels())),
        outputs(static_cast<int>(g.outputs())),
        image(pair(g.image)),
        out(pair(g.out)),
        kernel(pair(g.kernel)),
        stride(pair(g.stride)),
        padding(pair(g.padding)),
        dilation(pair(g.dilation)) {}
  static Pair pair(Extent2 e) { return {static_cast<int>(e.h), static_cast<int>(e.w)}; }
};

/// patches(output, tap * C + c) = the pixel that the output sees through the tap, or 0. A piece lies within one tap.
template <int kWidth, class T>
struct GatherPatches {
  View<T, 2> patches;
  View<const T, 2> x;
  Geometry g;

  __device__ void operator()(std::int64_t row, std::int64_t column) const {
    const int output = static_cast<int>(row), tap = static_cast<int>(column) / g.channels,
              c = static_cast<int>(column) % g.channels;
    const int n = output / g.outputs, at = output % g.outputs;
    const int i = at / g.out.w * g.stride.h - g.padding.h + tap / g.kernel.w * g.dilation.h;
    const int j = at % g.out.w * g.stride.w - g.padding.w + tap % g.kernel.w * g.dilation.w;
    float value[kWidth] = {};
    if (i >= 0 && i < g.image.h && j >= 0 && j < g.image.w)
      load_floats<kWidth>(x.row(static_cast<std::int64_t>(n) * g.pixels + i * g.image.w + j) + c, value);
    store_floats<kWidth>(patches.row(row) + column, value);
  }
};

/// dx(pixel, c) (+)= sum over the taps, in order, of what the output that sees the pixel through it sent back.
template <int kWidth, class T>
struct SumPatches {
  View<T, 2> dx;
  View<const float, 2> patches;
  Geometry g;
  Accumulate accumulate;

  __device__ void operator()(std::int64_t row, std::int64_t c) const {
    const int pixel = static_cast<int>(row), n = pixel / g.pixels, at = pixel % g.pixels;
    float sum[kWidth] = {};
    for (int r = 0; r < g.kernel.h; ++r) {
      const int down = at / g.image.w + g.padding.h - r * g.dilation.h, p = down / g.stride.h;
      if (down < 0 || p * g.stride.h != down || p >= g.out.h) continue;
      for (int s = 0; s < g.kernel.w; ++s) {
        const int right = at % g.image.w + g.padding.w - s * g.dilation.w, q = right / g.stride.w;
        if (right < 0 || q * g.stride.w != right || q >= g.out.w) continue;
        float share[kWidth];
        load_floats<kWidth>(
            patches.row(static_cast<std::int64_t>(n) * g.outputs + p * g.out.w + q) + (r * g.kernel.w + s) * g.channels + c, share);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) sum[e] += share[e];
      }
    }
    update_floats<kWidth>(dx.row(row) + c, sum, accumulate);
  }
};

template <class T>
void gather_patches(CudaContext& ctx, View<T, 2> patches, const View<const T, 2>& x, const ConvolutionGeometry& g) {
  constexpr int kWidth = kRowWidth<T>;
  if (all_in_vectors(kWidth, patches, x) && g.channels % kWidth == 0) {
    for_pieces<kWidth>(ctx, patches.rows(), patches.cols(), GatherPatches<kWidth, T>{patches, x, Geometry(g)});
  } else {
    for_pieces<1>(ctx, patches.rows(), patches.cols(), GatherPatches<1, T>{patches, x, Geometry(g)});
  }
}

template <class T>
void sum_patches(CudaContext& ctx, View<T, 2> dx, const View<const float, 2>& patches, const ConvolutionGeometry& g,
                 Accumulate accumulate) {
  constexpr int kWidth = kRowWidth<float, T>;
  if (all_in_vectors(kWidth, dx, patches) && g.channels % kWidth == 0) {
    for_pieces<kWidth>(ctx, dx.rows(), dx.cols(), SumPatches<kWidth, T>{dx, patches, Geometry(g), accumulate});
  } else {
    for_pieces<1>(ctx, dx.rows(), dx.cols(), SumPatches<1, T>{dx, patches, Geometry(g), accumulate});
  }
}

/// Calls f(first image, images, rows of patches) for slabs of whole images; the patches are scratch, with rows that start at
/// whole vectors.
template <class Element, class F>
void for_slabs(CudaContext& ctx, const ConvolutionGeometry& g, const F& f) {
  const std::int64_t stride = (g.depth() + 7) / 8 * 8;
  const std::int64_t of_one = g.outputs() * stride * static_cast<std::int64_t>(sizeof(Element));
  const std::int64_t most = std::clamp<std::int64_t>(kSlabBytes / of_one, 1, std::max<std::int64_t>(g.images, 1));
  ScratchScope scratch(ctx.scratch());
  auto* memory = scratch->template alloc<Element>(most * g.outputs() * stride);
  for (std::int64_t first = 0; first < g.images; first += most) {
    const std::int64_t count = std::min(most, g.images - first);
    f(first, count, View<Element, 2>(memory, {count * g.outputs(), g.depth()}, {stride, 1}));
  }
}

template <class X, class Y, class W>
ConvolutionGeometry checked(const X& x, const Y& y, const W& w, const ConvolutionOptions& options) {
  const auto g = convolution_geometry(x, y, w, options);
  constexpr std::int64_t kMost = INT32_MAX;
  GALREC_CHECK(x.rows() <= kMost && y.rows() <= kMost && g.depth() <= kMost && g.filters <= kMost, "x ({}, {}), y ({}, {})",
               x.rows(), x.cols(), y.rows(), y.cols());
  // Positions in the padded image are numbers of 32 bits as well.
  const auto fits = [](Extent2 e) { return e.h <= (kMost >> 2) && e.w <= (kMost >> 2); };
  GALREC_CHECK(fits(g.padding) && fits(g.stride) && fits(g.dilation));
  return g;
}

/// cuDNN knows no products of rounded operands.
bool library_precision(const CudaContext& ctx, std::size_t element) {
  return element == 2 || ctx.gemm_precision() != GemmPrecision::kBf16;
}

}  // namespace

template <class T>
void convolution_forward(CudaContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<T, 2> w, ConstView<Acc<T>, 1> bias,
                         const ConvolutionOptions& options) {
  const auto g = checked(x, y, w, options);
  GALREC_CHECK(!bias || bias.extent(0) == g.filters, "bias ({}) for {} filters", bias.extent(0), g.filters);
  if (y.size() == 0) return;
  constexpr GemmOptions kProduct{.b = Transpose::kYes};
  if (library_precision(ctx, sizeof(T)) && convolution_cuda::forward_cudnn<T>(ctx, y, x, w, g)) {
  } else if (x.is_dense() && g.x_is_its_patches()) {
    gemm<T>(ctx, y, as_patches(x, g), w, kProduct);
  } else {
    for_slabs<T>(ctx, g, [&](std::int64_t first, std::int64_t count, const View<T, 2>& patches) {
      gather_patches<T>(ctx, patches, x.slice_rows(first * g.pixels(), count * g.pixels()), g);
      gemm<T>(ctx, y.slice_rows(first * g.outputs(), patches.rows()), patches, w, kProduct);
    });
  }
  if (bias) add_bias<T>(ctx, y, bias);
}

template <class T>
void convolution_backward_input(CudaContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> w,
                                const ConvolutionOptions& options, Accumulate accumulate) {
  const auto g = checked(dx, dy, w, options);
  if (dx.size() == 0) return;
  if (g.filters == 0) {
    if (accumulate == Accumulate::kOverwrite) fill<T>(ctx, dx, 0);
    return;
  }
  if (library_precision(ctx, sizeof(T)) && convolution_cuda::backward_input_cudnn<T>(ctx, dx, dy, w, g, accumulate)) return;
  if (dx.is_dense() && g.x_is_its_patches()) return gemm<T>(ctx, as_patches(dx, g), dy, w, {.accumulate = accumulate});
  for_slabs<float>(ctx, g, [&](std::int64_t first, std::int64_t count, const View<float, 2>& patches) {
    gemm<T>(ctx, patches, dy.slice_rows(first * g.outputs(), patches.rows()), w, GemmOptions{});
    sum_patches<T>(ctx, dx.slice_rows(first * g.pixels(), count * g.pixels()), patches, g, accumulate);
  });
}

template <class T>
void convolution_backward_weight(CudaContext& ctx, View<Acc<T>, 2> dw, ConstView<T, 2> dy, ConstView<T, 2> x,
                                 const ConvolutionOptions& options, Accumulate accumulate) {
  const auto g = checked(x, dy, dw, options);
  if (dw.size() == 0) return;
  if (g.images == 0) {
    if (accumulate == Accumulate::kOverwrite) fill<Acc<T>>(ctx, dw, 0);
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (library_precision(ctx, sizeof(T)) && convolution_cuda::backward_weight_cudnn(ctx, dw, dy, x, g, accumulate)) return;
  }
  if (x.is_dense() && g.x_is_its_patches())
    return gemm<T>(ctx, dw, dy, as_patches(x, g), {.a = Transpose::kYes, .accumulate = accumulate});
  for_slabs<T>(ctx, g, [&](std::int64_t first, std::int64_t count, const View<T, 2>& patches) {
    gather_patches<T>(ctx, patches, x.slice_rows(first * g.pixels(), count * g.pixels()), g);
    gemm<T>(ctx, dw, dy.slice_rows(first * g.outputs(), patches.rows()), patches,
            {.a = Transpose::kYes, .accumulate = first == 0 ? accumulate : Accumulate::kAdd});
  });
}

#define GALREC_INSTANTIATE(T)                                                                                            \
  template void convolution_forward<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<Acc<T>, 1>, \
                                       const ConvolutionOptions&);                                                       \
  template void convolution_backward_input<T>(CudaContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>,                \
                                              const ConvolutionOptions&, Accumulate);                                    \
  template void convolution_backward_weight<T>(CudaContext&, View<Acc<T>, 2>, ConstView<T, 2>, ConstView<T, 2>,          \
                                               const ConvolutionOptions&, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec
