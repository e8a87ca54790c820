#pragma once
// The extents of a convolution, checked once for both backends, and which pixel an output sees through which tap of the filter.

#include "kernels/convolution/convolution.h"

namespace galrec {

struct ConvolutionGeometry {
  std::int64_t images, channels, filters;
  Extent2 image, out, kernel, stride, padding, dilation;

  std::int64_t pixels() const { return image.h * image.w; }              // of an image
  std::int64_t outputs() const { return out.h * out.w; }                 // of an image
  std::int64_t depth() const { return kernel.h * kernel.w * channels; }  // of a patch

  /// Whether patches lie in a dense x as they are: filters of one pixel, or of the whole image.
  bool x_is_its_patches() const {
    if (padding.h != 0 || padding.w != 0) return false;
    const bool one_pixel = kernel.h == 1 && kernel.w == 1 && stride.h == 1 && stride.w == 1;
    const bool whole =
        kernel.h == image.h && kernel.w == image.w && (dilation.h == 1 || kernel.h == 1) && (dilation.w == 1 || kernel.w == 1);
    return one_pixel || whole;
  }
};

/// `x` and `y` stand for dx and dy as well, `w` for dw. CheckError names what does not fit.
template <class X, class Y, class W>
ConvolutionGeometry convolution_geometry(const X& x, const Y& y, const W& w, const ConvolutionOptions& o) {
  const Extent2 out = convolution_output(o);
  const std::int64_t pixels = o.image.h * o.image.w, depth = o.kernel.h * o.kernel.w * x.cols();
  GALREC_CHECK(x.cols() >= 1 && x.rows() % pixels == 0, "x ({}, {}) in images of {} x {}", x.rows(), x.cols(), o.image.h,
               o.image.w);
  const std::int64_t images = x.rows() / pixels;
  GALREC_CHECK(w.cols() == depth, "w ({}, {}) on {} x {} pixels of {} channels", w.rows(), w.cols(), o.kernel.h, o.kernel.w,
               x.cols());
  GALREC_CHECK(y.rows() == images * out.h * out.w && y.cols() == w.rows(),
               "y ({}, {}), expected {} images of {} x {} and {} filters", y.rows(), y.cols(), images, out.h, out.w, w.rows());
  return {images, x.cols(), w.rows(), o.image, out, o.kernel, o.stride, o.padding, o.dilation};
}

/// A dense view of x whose rows are patches, for geometries with x_is_its_patches().
template <class V>
V as_patches(const V& x, const ConvolutionGeometry& g) {
  return V(x.data, {g.images * g.outputs(), g.depth()});
}

}  // namespace galrec
