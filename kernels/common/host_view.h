#pragma once
// Values across the border between host and device. Code that looks at results, writes files or checks figures names the
// crossing and costs nothing on the CPU backend, where both sides are the same memory.

#include <cstdint>
#include <vector>

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// A view that the host can read: the memory itself where it can be reached, else a copy, taken when this is made, after all
/// work queued before. Waits for the device then. Move-only; the view lives as long as this and as the source.
template <class T, int Rank>
class HostView {
 public:
  HostView(MemoryResource& memory, View<const T, Rank> source) : view_(source) {
    if (memory.host_accessible() || source.empty()) return;
    std::int64_t extent = 1;  // from the first to the last element, gaps between rows included
    for (int d = 0; d < Rank; ++d) extent += (source.shape[d] - 1) * source.stride[d];
    copy_.resize(static_cast<std::size_t>(extent));
    memory.download(copy_.data(), source.data, copy_.size() * sizeof(T));
    view_.data = copy_.data();
  }
  HostView(HostView&&) noexcept = default;
  HostView& operator=(HostView&&) noexcept = default;

  const View<const T, Rank>& view() const { return view_; }
  const View<const T, Rank>* operator->() const { return &view_; }
  const View<const T, Rank>& operator*() const { return view_; }

 private:
  std::vector<T> copy_;
  View<const T, Rank> view_;
};

template <class T, int Rank>
HostView<std::remove_const_t<T>, Rank> on_host(MemoryResource& memory, View<T, Rank> source) {
  return {memory, View<const T, Rank>(source)};
}
template <class T, int Rank>
HostView<std::remove_const_t<T>, Rank> on_host(const Device& device, View<T, Rank> source) {
  return on_host(memory_of(device), source);
}

/// A copy of host values in an arena's memory.
template <class T>
View<T, 1> upload(Arena& arena, const T* values, std::int64_t count) {
  const auto out = arena.vector<T>(count);
  if (count > 0) arena.memory().upload(out.data, values, static_cast<std::size_t>(count) * sizeof(T));
  return out;
}
template <class Container>
auto upload(Arena& arena, const Container& values) {
  return upload(arena, values.data(), static_cast<std::int64_t>(values.size()));
}

/// Copies rows within one memory: `to` and `from` of equal shape, as few transfers as their strides allow.
template <class T>
void copy_rows(MemoryResource& memory, View<T, 2> to, View<const std::type_identity_t<T>, 2> from) {
  GALREC_CHECK(to.shape == from.shape, "({}, {}) from ({}, {})", to.rows(), to.cols(), from.rows(), from.cols());
  if (to.size() == 0) return;
  if (to.is_dense() && from.is_dense()) {
    memory.copy(to.data, from.data, static_cast<std::size_t>(to.size()) * sizeof(T));
    return;
  }
  for (std::int64_t r = 0; r < to.rows(); ++r)
    memory.copy(to.row(r), from.row(r), static_cast<std::size_t>(to.cols()) * sizeof(T));
}

}  // namespace galrec
