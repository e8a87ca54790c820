#include "kernels/common/scatter_rows.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace galrec {

template <class T>
void scatter_rows(CpuContext&, View<T, 2> y, View<const T, 2> x, View<const std::int32_t, 1> rows) {
  GALREC_CHECK(x.rows() == rows.extent(0) && x.cols() == y.cols(), "({}, {}) to {} rows of ({}, {})", x.rows(),
               x.cols(), rows.extent(0), y.rows(), y.cols());
  for (std::int64_t n = 0; n < x.rows(); ++n) {
    const std::int32_t r = rows[n];
    if (r < 0) continue;
    GALREC_CHECK(r < y.rows(), "row {} of {}", r, y.rows());
    std::copy_n(x.row(n), x.cols(), y.row(r));
  }
}

template void scatter_rows(CpuContext&, View<float, 2>, View<const float, 2>, View<const std::int32_t, 1>);
template void scatter_rows(CpuContext&, View<double, 2>, View<const double, 2>, View<const std::int32_t, 1>);
template void scatter_rows(CpuContext&, View<std::int32_t, 2>, View<const std::int32_t, 2>,
                           View<const std::int32_t, 1>);

}  // namespace galrec
