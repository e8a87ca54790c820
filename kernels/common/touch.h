#pragma once
// Reading ahead in memory order. A kernel that walks several rows at a time, or one head's columns of each row, is
// followed badly by hardware prefetchers; touching a block that fits L2 first turns its misses into one stream. Plain
// loads do this better than prefetch instructions, of which a processor keeps few in flight.

#include <cstdint>

#include "kernels/common/view.h"

namespace galrec {

/// Reads one element of each cache line of [data, data + elements).
template <class T>
inline void touch(const T* data, std::int64_t elements) {
  constexpr std::int64_t kLine = static_cast<std::int64_t>(64 / sizeof(T));
  for (std::int64_t i = 0; i < elements; i += kLine) static_cast<void>(*static_cast<const volatile T*>(data + i));
}

/// The same for columns [column, column + columns) of rows [first, first + rows).
template <class T>
inline void touch_rows(View<T, 2> x, std::int64_t first, std::int64_t rows, std::int64_t column, std::int64_t columns) {
  for (std::int64_t r = first; r < first + rows; ++r) touch(x.row(r) + column, columns);
}

}  // namespace galrec
