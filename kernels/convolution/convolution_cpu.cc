#include "kernels/convolution/convolution.h"

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/common/row_slabs.h"
#include "kernels/convolution/convolution_geometry.h"
#include "kernels/gemm/gemm.h"

namespace galrec {

namespace {

constexpr std::int64_t kPatchElements = 32768;  // of a block: 128 KB of floats, half of an L2 cache
constexpr std::int64_t kSlabs = 64, kLeastSlabRows = 512;

std::int64_t pieces(std::int64_t n, std::int64_t size) {
  return (n + size - 1) / size;
}

std::int64_t block_rows(const ConvolutionGeometry& g) {
  return std::clamp<std::int64_t>(kPatchElements / g.depth(), 16, 2048);
}

// Outputs first to first + count, in runs that share image and height: f(run, tap, inside, pixel) for each run and tap, where the
// outputs [inside.begin, inside.end) of the block see pixels within the image through the tap, the first of them `pixel`, the next
// ones stride.w further each.
struct Run {
  std::int64_t begin, end;
};
template <class F>
void for_taps(const ConvolutionGeometry& g, std::int64_t first, std::int64_t count, const F& f) {
  for (std::int64_t at = 0; at < count;) {
    const std::int64_t n = (first + at) / g.outputs(), p = (first + at) % g.outputs() / g.out.w, q = (first + at) % g.out.w;
    const Run run = {at, std::min(count, at + g.out.w - q)};
    for (std::int64_t r = 0; r < g.kernel.h; ++r) {
      const std::int64_t i = p * g.stride.h - g.padding.h + r * g.dilation.h;
      for (std::int64_t s = 0; s < g.kernel.w; ++s) {
        const std::int64_t offset = s * g.dilation.w - g.padding.w;  // of output 0 of this height
        const auto output_at = [&](std::int64_t pixel) {             // the first that is not left of the pixel
          const std::int64_t right = pixel - offset;
          return std::clamp(at - q + (right > 0 ? pieces(right, g.stride.w) : 0), run.begin, run.end);
        };
        Run inside = {run.begin, run.begin};
        if (i >= 0 && i < g.image.h) inside = {output_at(0), output_at(g.image.w)};
        f(run, r * g.kernel.w + s, inside, (n * g.image.h + i) * g.image.w + (q + inside.begin - at) * g.stride.w + offset);
      }
    }
    at = run.end;
  }
}

// Whether the rows of a filter lie one after another in x, as under filters over time.
template <class T>
bool patch_is_one_run(const View<const T, 2>& x, const ConvolutionGeometry& g) {
  return x.is_dense() && g.padding.h == 0 && g.padding.w == 0 && g.kernel.w == g.image.w && g.dilation.h == 1 &&
         (g.dilation.w == 1 || g.kernel.w == 1);
}

// patches.row(i) = what output first + i sees.
template <class T>
void gather_patches(View<T, 2> patches, const View<const T, 2>& x, const ConvolutionGeometry& g, std::int64_t first) {
  if (patch_is_one_run(x, g)) {
    for (std::int64_t i = 0; i < patches.rows(); ++i) {
      const std::int64_t n = (first + i) / g.outputs(), p = (first + i) % g.outputs();
      std::copy_n(x.row((n * g.image.h + p * g.stride.h) * g.image.w), g.depth(), patches.row(i));
    }
    return;
  }
  for_taps(g, first, patches.rows(), [&](Run run, std::int64_t tap, Run inside, std::int64_t pixel) {
    const std::int64_t column = tap * g.channels, step = g.stride.w * x.stride[0];
    const T* from = x.row(pixel);
    for (std::int64_t i = run.begin; i < inside.begin; ++i) std::fill_n(patches.row(i) + column, g.channels, T(0));
    for (std::int64_t i = inside.end; i < run.end; ++i) std::fill_n(patches.row(i) + column, g.channels, T(0));
    if (g.channels == 1) {
      for (std::int64_t i = inside.begin; i < inside.end; ++i) patches(i, column) = from[(i - inside.begin) * step];
    } else {
      for (std::int64_t i = inside.begin; i < inside.end; ++i)
        std::copy_n(from + (i - inside.begin) * step, g.channels, patches.row(i) + column);
    }
  });
}

// The other way: every pixel gets what the patches that contain it hold, in the order of heights, taps and outputs.
template <class T>
void scatter_patches(View<T, 2> dx, const View<T, 2>& patches, const ConvolutionGeometry& g, std::int64_t first) {
  for_taps(g, first, patches.rows(), [&](Run, std::int64_t tap, Run inside, std::int64_t pixel) {
    const std::int64_t column = tap * g.channels, step = g.stride.w * dx.stride[0];
    T* to = dx.row(pixel);
    if (g.channels == 1) {
      for (std::int64_t i = inside.begin; i < inside.end; ++i) to[(i - inside.begin) * step] += patches(i, column);
      return;
    }
    for (std::int64_t i = inside.begin; i < inside.end; ++i) {
      T* __restrict sum = to + (i - inside.begin) * step;
      const T* __restrict share = patches.row(i) + column;
#pragma omp simd
      for (std::int64_t c = 0; c < g.channels; ++c) sum[c] += share[c];
    }
  });
}

template <class T>
View<T, 2> first_rows(T* data, std::int64_t rows, std::int64_t cols) {
  return View<T, 2>(data, {rows, cols});
}

// Scratch for a block of patches per thread.
template <class T>
class Blocks {
 public:
  Blocks(CpuContext& ctx, std::int64_t rows, std::int64_t depth)
      : scope_(ctx.scratch()), size_(rows * depth), depth_(depth), data_(scope_->template alloc<T>(size_ * ctx.threads())) {}
  View<T, 2> of(int worker, std::int64_t rows) const { return first_rows(data_ + worker * size_, rows, depth_); }
  Arena& arena() const { return *scope_; }

 private:
  ScratchScope scope_;
  std::int64_t size_, depth_;
  T* data_;
};

// w^T, so that the library need not pack it anew for every block.
template <class T>
View<T, 2> transposed(CpuContext& ctx, Arena& arena, const View<const T, 2>& w) {
  const View<T, 2> out = arena.matrix<T>(w.cols(), w.rows());
  parallel_for(ctx, w.cols(), 1024, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t k = 0; k < w.rows(); ++k)
      for (std::int64_t d = begin; d < end; ++d) out(d, k) = w(k, d);
  });
  return out;
}

}  // namespace

Extent2 convolution_output(const ConvolutionOptions& o) {
  const auto along = [](std::int64_t image, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
    GALREC_CHECK(image >= 1 && kernel >= 1 && stride >= 1 && padding >= 0 && dilation >= 1,
                 "image {}, kernel {}, stride {}, padding {}, dilation {}", image, kernel, stride, padding, dilation);
    const std::int64_t room = image + 2 * padding - dilation * (kernel - 1) - 1;
    GALREC_CHECK(room >= 0, "a filter of {} pixels, {} apart, on {} and {} of padding at each end", kernel, dilation, image,
                 padding);
    return room / stride + 1;
  };
  return {along(o.image.h, o.kernel.h, o.stride.h, o.padding.h, o.dilation.h),
          along(o.image.w, o.kernel.w, o.stride.w, o.padding.w, o.dilation.w)};
}

template <class T>
void convolution_forward(CpuContext& ctx, View<T, 2> y, ConstView<T, 2> x, ConstView<T, 2> w, ConstView<T, 1> bias,
                         const ConvolutionOptions& options) {
  const auto g = convolution_geometry(x, y, w, options);
  GALREC_CHECK(!bias || bias.extent(0) == g.filters, "bias ({}) for {} filters", bias.extent(0), g.filters);
  const bool as_it_is = x.is_dense() && g.x_is_its_patches();
  const std::int64_t rows = block_rows(g);
  const Blocks<T> blocks(ctx, as_it_is ? 0 : rows, g.depth());
  const View<T, 2> wt = transposed<T>(ctx, blocks.arena(), w);
  parallel_for(ctx, y.rows(), rows, [&](std::int64_t begin, std::int64_t end, int worker) {
    View<const T, 2> patches = as_patches(x, g);
    if (as_it_is) {
      patches = patches.slice_rows(begin, end - begin);
    } else {
      const View<T, 2> block = blocks.of(worker, end - begin);
      gather_patches<T>(block, x, g, begin);
      patches = block;
    }
    gemm_serial<T>(y.slice_rows(begin, end - begin), patches, wt);
    for (std::int64_t i = begin; bias && i < end; ++i) {
      T* __restrict out = y.row(i);
#pragma omp simd
      for (std::int64_t k = 0; k < g.filters; ++k) out[k] += bias[k];
    }
  });
}

template <class T>
void convolution_backward_input(CpuContext& ctx, View<T, 2> dx, ConstView<T, 2> dy, ConstView<T, 2> w,
                                const ConvolutionOptions& options, Accumulate accumulate) {
  const auto g = convolution_geometry(dx, dy, w, options);
  const bool as_it_is = dx.is_dense() && g.x_is_its_patches();
  // Images share no pixel: a block of whole ones is one thread's.
  const std::int64_t images = std::max<std::int64_t>(1, block_rows(g) / g.outputs());
  const Blocks<T> blocks(ctx, as_it_is ? 0 : images * g.outputs(), g.depth());
  parallel_for(ctx, g.images, images, [&](std::int64_t begin, std::int64_t end, int worker) {
    const std::int64_t first = begin * g.outputs(), count = (end - begin) * g.outputs();
    const auto gradients = dy.slice_rows(first, count);
    if (as_it_is) return gemm_serial<T>(as_patches(dx, g).slice_rows(first, count), gradients, w, {.accumulate = accumulate});
    const View<T, 2> block = blocks.of(worker, count);
    gemm_serial<T>(block, gradients, w);
    if (accumulate == Accumulate::kOverwrite) {
      for (std::int64_t i = begin * g.pixels(); i < end * g.pixels(); ++i) std::fill_n(dx.row(i), g.channels, T(0));
    }
    scatter_patches<T>(dx, block, g, first);
  });
}

template <class T>
void convolution_backward_weight(CpuContext& ctx, View<T, 2> dw, ConstView<T, 2> dy, ConstView<T, 2> x,
                                 const ConvolutionOptions& options, Accumulate accumulate) {
  const auto g = convolution_geometry(x, dy, dw, options);
  const bool as_it_is = x.is_dense() && g.x_is_its_patches();
  const std::int64_t rows = block_rows(g), size = g.filters * g.depth();
  const std::int64_t slab_rows = std::max(pieces(pieces(dy.rows(), kSlabs), rows) * rows, pieces(kLeastSlabRows, rows) * rows);
  const std::int64_t slabs = pieces(dy.rows(), slab_rows);
  const Blocks<T> blocks(ctx, as_it_is ? 0 : rows, g.depth());
  const View<T, 2> partial = blocks.arena().template matrix<T>(std::max<std::int64_t>(slabs, 1), size);
  parallel_for(ctx, slabs, 1, [&](std::int64_t slab, std::int64_t, int worker) {
    const View<T, 2> sum(partial.row(slab), {g.filters, g.depth()});
    const std::int64_t begin = slab * slab_rows, end = std::min(begin + slab_rows, dy.rows());
    for (std::int64_t at = begin; at < end; at += rows) {
      const std::int64_t count = std::min(rows, end - at);
      View<const T, 2> patches = as_patches(x, g);
      if (as_it_is) {
        patches = patches.slice_rows(at, count);
      } else {
        const View<T, 2> block = blocks.of(worker, count);
        gather_patches<T>(block, x, g, at);
        patches = block;
      }
      gemm_serial<T>(sum, dy.slice_rows(at, count), patches,
                     {.a = Transpose::kYes, .accumulate = at == begin ? Accumulate::kOverwrite : Accumulate::kAdd});
    }
  });
  parallel_for(ctx, g.filters, std::max<std::int64_t>(1, 4096 / g.depth()), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t k = begin; k < end; ++k) {
      T* __restrict out = dw.row(k);
      if (accumulate == Accumulate::kOverwrite) std::fill_n(out, g.depth(), T(0));
      for (std::int64_t slab = 0; slab < slabs; ++slab) add_or_store(out, partial.row(slab) + k * g.depth(), g.depth(), true);
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                      \
  template void convolution_forward<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, ConstView<T, 1>, \
                                       const ConvolutionOptions&);                                                 \
  template void convolution_backward_input<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>,           \
                                              const ConvolutionOptions&, Accumulate);                              \
  template void convolution_backward_weight<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>,          \
                                               const ConvolutionOptions&, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec
