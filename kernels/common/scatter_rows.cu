#include "kernels/common/scatter_rows.h"

#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

template <class T>
struct Scatter {
  View<T, 2> y;
  View<const T, 2> x;
  View<const std::int32_t, 1> rows;

  __device__ void operator()(std::int64_t n, std::int64_t column) const {
    const std::int64_t r = rows[n];
    if (r >= 0 && r < y.rows()) y(r, column) = x(n, column);
  }
};

}  // namespace

template <class T>
void scatter_rows(CudaContext& ctx, View<T, 2> y, View<const T, 2> x, View<const std::int32_t, 1> rows) {
  GALREC_CHECK(x.rows() == rows.extent(0) && x.cols() == y.cols(), "({}, {}) to {} rows of ({}, {})", x.rows(),
               x.cols(), rows.extent(0), y.rows(), y.cols());
  if (x.size() > 0) for_pieces<1>(ctx, x.rows(), x.cols(), Scatter<T>{y, x, rows});
}

template void scatter_rows(CudaContext&, View<float, 2>, View<const float, 2>, View<const std::int32_t, 1>);
template void scatter_rows(CudaContext&, View<bfloat16, 2>, View<const bfloat16, 2>, View<const std::int32_t, 1>);
template void scatter_rows(CudaContext&, View<std::int32_t, 2>, View<const std::int32_t, 2>,
                           View<const std::int32_t, 1>);

}  // namespace galrec
