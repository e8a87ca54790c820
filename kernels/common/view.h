#pragma once
// Non-owning, strided, row-major views. The last dimension is always dense (stride 1), so that a kernel can take plain
// pointers to rows; the others may have gaps (a block of columns of a wider matrix is a view).

#include <array>
#include <cstdint>
#include <type_traits>

#include "kernels/common/check.h"
#include "kernels/common/host_device.h"

namespace galrec {

template <class T, int Rank>
struct View {
  static_assert(Rank >= 1);
  using Shape = std::array<std::int64_t, Rank>;

  T* data = nullptr;
  Shape shape{};
  Shape stride{};

  View() = default;
  /// Dense row-major view.
  GALREC_HOST_DEVICE View(T* pointer, Shape extents) : data(pointer), shape(extents) {
    std::int64_t step = 1;
    for (int d = Rank - 1; d >= 0; --d) {
      stride[d] = step;
      step *= shape[d];
    }
  }
  GALREC_HOST_DEVICE View(T* pointer, Shape extents, Shape strides) : data(pointer), shape(extents), stride(strides) {}

  /// View<T> converts to View<const T>.
  GALREC_HOST_DEVICE operator View<const T, Rank>() const
    requires(!std::is_const_v<T>)
  {
    return View<const T, Rank>(data, shape, stride);
  }

  GALREC_HOST_DEVICE std::int64_t extent(int d) const { return shape[d]; }
  GALREC_HOST_DEVICE std::int64_t size() const {
    std::int64_t n = 1;
    for (auto e : shape) n *= e;
    return n;
  }
  GALREC_HOST_DEVICE bool empty() const { return data == nullptr || size() == 0; }
  GALREC_HOST_DEVICE explicit operator bool() const { return data != nullptr; }

  bool is_dense() const {
    std::int64_t step = 1;
    for (int d = Rank - 1; d >= 0; --d) {
      if (shape[d] > 1 && stride[d] != step) return false;
      step *= shape[d];
    }
    return true;
  }

  GALREC_HOST_DEVICE T& operator[](std::int64_t i) const
    requires(Rank == 1)
  {
    return data[i];
  }
  GALREC_HOST_DEVICE T& operator()(std::int64_t i, std::int64_t j) const
    requires(Rank == 2)
  {
    return data[i * stride[0] + j];
  }
  /// Pointer to the first element of row i.
  GALREC_HOST_DEVICE T* row(std::int64_t i) const
    requires(Rank == 2)
  {
    return data + i * stride[0];
  }
  GALREC_HOST_DEVICE std::int64_t rows() const
    requires(Rank == 2)
  {
    return shape[0];
  }
  GALREC_HOST_DEVICE std::int64_t cols() const
    requires(Rank == 2)
  {
    return shape[1];
  }
  View slice_rows(std::int64_t first, std::int64_t count) const
    requires(Rank == 2)
  {
    GALREC_CHECK(first >= 0 && count >= 0 && first + count <= shape[0], "rows [{}, {}+{}) of {}", first, first, count, shape[0]);
    return View(data + first * stride[0], {count, shape[1]}, stride);
  }
  View slice_cols(std::int64_t first, std::int64_t count) const
    requires(Rank == 2)
  {
    GALREC_CHECK(first >= 0 && count >= 0 && first + count <= shape[1], "columns [{}, {}+{}) of {}", first, first, count, shape[1]);
    return View(data + first, {shape[0], count}, stride);
  }
  View slice(std::int64_t first, std::int64_t count) const
    requires(Rank == 1)
  {
    GALREC_CHECK(first >= 0 && count >= 0 && first + count <= shape[0], "elements [{}, {}+{}) of {}", first, first, count, shape[0]);
    return View(data + first, {count}, stride);
  }
};

/// An input view. Its element type is not deduced, so that a View<T> argument converts: T comes from the outputs.
template <class T, int Rank>
using ConstView = View<const std::type_identity_t<T>, Rank>;

/// A dense rank-1 view over anything contiguous with data() and size() (std::vector, std::span).
template <class Container>
auto view_of(Container& c) {
  using T = std::remove_pointer_t<decltype(c.data())>;
  return View<T, 1>(c.data(), {static_cast<std::int64_t>(c.size())});
}
template <class Container>
auto view_of(Container& c, std::int64_t rows, std::int64_t cols) {
  using T = std::remove_pointer_t<decltype(c.data())>;
  GALREC_CHECK(static_cast<std::int64_t>(c.size()) == rows * cols, "{} elements as ({}, {})", c.size(), rows, cols);
  return View<T, 2>(c.data(), {rows, cols});
}

/// What a kernel does to an output gradient: the first writer overwrites, later ones add.
enum class Accumulate { kOverwrite, kAdd };

}  // namespace galrec
