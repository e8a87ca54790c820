#pragma once
// Positions sorted by the id that they hold, on the device.

#include "kernels/common/context.h"
#include "kernels/common/host_device.h"
#include "kernels/common/view.h"

namespace galrec {

/// An id in the upper half, its position in the lower.
using PositionKey = std::uint64_t;
GALREC_HOST_DEVICE inline std::int64_t key_id(PositionKey k) {
  return static_cast<std::int64_t>(k >> 32);
}
GALREC_HOST_DEVICE inline std::int64_t key_position(PositionKey k) {
  return static_cast<std::int64_t>(k & 0xffffffffu);
}

/// Keys of all positions, ascending, in `scratch`. Ids outside [0, rows) are reported and sorted last, as `rows`.
/// A least-significant-digit radix sort of our own rather than CUB's: the executor then runs the very source that the
/// GPU runs.
View<const PositionKey, 1> sort_positions(CudaContext& ctx, Arena& scratch, View<const std::int32_t, 1> ids,
                                          std::int64_t rows);

}  // namespace galrec
