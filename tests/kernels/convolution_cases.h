#pragma once
// The definition of the convolution as loops over everything, and the geometries that both backends are tested on.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "tests/support/random.h"

namespace galrec::test {

struct ConvolutionCase {
  std::int64_t images, channels, filters;
  ConvolutionOptions options;
  std::int64_t gap = 0;  // between rows of x and y
  std::uint64_t seed = 1;

  Extent2 out() const { return convolution_output(options); }
  std::int64_t x_rows() const { return images * options.image.h * options.image.w; }
  std::int64_t y_rows() const { return images * out().h * out().w; }
  std::int64_t depth() const { return options.kernel.h * options.kernel.w * channels; }
  std::vector<double> x() const { return random_normal<double>(x_rows() * channels, seed); }
  std::vector<double> w() const { return random_normal<double>(filters * depth(), seed + 1); }
  std::vector<double> bias() const { return random_normal<double>(filters, seed + 2); }
  std::vector<double> dy() const { return random_normal<double>(y_rows() * filters, seed + 3); }
  std::string name() const {
    const auto& o = options;
    const auto pair = [](Extent2 e) { return std::to_string(e.h) + "x" + std::to_string(e.w); };
    return std::to_string(images) + " images " + pair(o.image) + "x" + std::to_string(channels) + ", " + std::to_string(filters) +
           " of " + pair(o.kernel) + ", stride " + pair(o.stride) + ", padding " + pair(o.padding) + ", dilation " +
           pair(o.dilation) + ", gap " + std::to_string(gap);
  }
};

/// Calls f(output row, filter, column of the patch, pixel row, channel) for every product of the definition.
template <class F>
void for_products(const ConvolutionCase& c, const F& f) {
  const auto& o = c.options;
  const Extent2 out = c.out();
  for (std::int64_t row = 0; row < c.y_rows(); ++row) {
    const std::int64_t n = row / (out.h * out.w), p = row / out.w % out.h, q = row % out.w;
    for (std::int64_t r = 0; r < o.kernel.h; ++r) {
      for (std::int64_t s = 0; s < o.kernel.w; ++s) {
        const std::int64_t i = p * o.stride.h + r * o.dilation.h - o.padding.h, j = q * o.stride.w + s * o.dilation.w - o.padding.w;
        if (i < 0 || j < 0 || i >= o.image.h || j >= o.image.w) continue;
        const std::int64_t pixel = (n * o.image.h + i) * o.image.w + j;
        for (std::int64_t k = 0; k < c.filters; ++k)
          for (std::int64_t ch = 0; ch < c.channels; ++ch) f(row, k, (r * o.kernel.w + s) * c.channels + ch, pixel, ch);
      }
    }
  }
}

struct ConvolutionResults {
  std::vector<double> y, dx, dw;
};

/// With `add`, gradients are added to 0.5.
inline ConvolutionResults naive_convolution(const ConvolutionCase& c, const std::vector<double>& x, const std::vector<double>& w,
                                            const std::vector<double>& bias, const std::vector<double>& dy, Accumulate accumulate) {
  const double start = accumulate == Accumulate::kAdd ? 0.5 : 0.0;
  ConvolutionResults out{std::vector<double>(dy.size()), std::vector<double>(x.size(), start),
                         std::vector<double>(w.size(), start)};
  for (std::int64_t i = 0; !bias.empty() && i < c.y_rows() * c.filters; ++i) out.y[i] = bias[i % c.filters];
  for_products(c, [&](std::int64_t row, std::int64_t k, std::int64_t column, std::int64_t pixel, std::int64_t channel) {
    const double gradient = dy[row * c.filters + k], weight = w[k * c.depth() + column], value = x[pixel * c.channels + channel];
    out.y[row * c.filters + k] += weight * value;
    out.dx[pixel * c.channels + channel] += weight * gradient;
    out.dw[k * c.depth() + column] += value * gradient;
  });
  return out;
}

/// Hostile extents, every option, patches that are x itself, vectors and odd channels, and Caser's two kinds of filters.
inline std::vector<ConvolutionCase> convolution_cases() {
  return {{1, 1, 1, {.image = {1, 1}, .kernel = {1, 1}}},
          {3, 33, 31, {.image = {5, 7}, .kernel = {1, 1}}},     // one pixel
          {3, 32, 16, {.image = {5, 7}, .kernel = {1, 1}}, 8},  // the same with gaps
          {9, 16, 4, {.image = {5, 1}, .kernel = {5, 1}}},      // the whole image
          {9, 16, 4, {.image = {5, 1}, .kernel = {5, 1}}, 8},
          {4, 8, 3, {.image = {3, 3}, .kernel = {3, 3}, .padding = {1, 1}}},   // whole, but padded
          {4, 8, 3, {.image = {3, 3}, .kernel = {2, 2}, .dilation = {2, 2}}},  // reaches all, sees the corners
          {37, 64, 16, {.image = {5, 1}, .kernel = {3, 1}}},                   // Caser: over time
          {37, 64, 16, {.image = {5, 1}, .kernel = {2, 1}}, 8},
          {37, 33, 5, {.image = {9, 1}, .kernel = {4, 1}}, 3},
          {33, 1, 4, {.image = {5, 64}, .kernel = {5, 1}}},  // Caser: one weight per step
          {2, 127, 257, {.image = {31, 1}, .kernel = {3, 1}, .padding = {2, 0}}},
          {2, 24, 33, {.image = {33, 1}, .kernel = {3, 1}, .padding = {4, 0}, .dilation = {4, 1}}},  // NextItNet
          {3, 5, 7, {.image = {11, 13}, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 2}, .dilation = {2, 1}}, 1},
          {3, 8, 8, {.image = {11, 13}, .kernel = {2, 5}, .stride = {3, 1}, .padding = {0, 2}, .dilation = {1, 2}}, 8},
          {2, 4, 3, {.image = {4, 4}, .kernel = {1, 1}, .stride = {3, 2}}},  // pixels that nobody sees
          {257, 2, 3, {.image = {7, 1}, .kernel = {7, 1}, .stride = {5, 1}, .padding = {3, 0}}},
          {1, 769, 2, {.image = {6, 1}, .kernel = {2, 1}}}};
}

}  // namespace galrec::test
