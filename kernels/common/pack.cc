#include "kernels/common/pack.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace galrec {

template <class T>
void pack(CpuContext&, View<T, 1> out, std::span<const View<const T, 1>> pieces) {
  std::int64_t at = 0;
  for (const auto& piece : pieces) {
    GALREC_CHECK(at + piece.extent(0) <= out.extent(0), "pieces of more than {} elements", out.extent(0));
    std::copy_n(piece.data, piece.extent(0), out.data + at);
    at += piece.extent(0);
  }
  GALREC_CHECK(at == out.extent(0), "pieces of {} elements for {}", at, out.extent(0));
}

template void pack<float>(CpuContext&, View<float, 1>, std::span<const View<const float, 1>>);
template void pack<double>(CpuContext&, View<double, 1>, std::span<const View<const double, 1>>);

}  // namespace galrec
