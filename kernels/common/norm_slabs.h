#pragma once

#include <cstdint>

namespace galrec {

/// Rows whose weight gradients are summed together before the slabs are added in order; the same on every backend.
inline constexpr std::int64_t kNormSlabRows = 64;

}  // namespace galrec
