#include "layers/t5/relative_buckets.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"

namespace galrec::layers {

namespace {

/// floor(steps ln(n / exact) / ln(max_distance / exact)) as transformers computes it: in fp32, one rounding per
/// operation. The logarithm is taken in double and rounded once, so that the C library's logf, which differs between
/// machines in the last bit, has no say at the distances where the quotient is a whole number.
std::int64_t logarithmic_step(std::int64_t n, std::int64_t exact, std::int64_t steps, std::int64_t max_distance) {
  const float ratio = static_cast<float>(n) / static_cast<float>(exact);
  const float log_ratio = static_cast<float>(std::log(static_cast<double>(ratio)));
  const float log_range = static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const float quotient = log_ratio / log_range;
  const float scaled = quotient * static_cast<float>(steps);
  return static_cast<std::int64_t>(scaled);
}

}  // namespace

std::int32_t relative_bucket(std::int64_t relative_position, BucketDirection direction, std::int64_t buckets,
                             std::int64_t max_distance) {
  std::int64_t offset = 0;
  std::int64_t distance = std::max<std::int64_t>(-relative_position, 0);
  if (direction == BucketDirection::kBidirectional) {
    buckets /= 2;
    offset = relative_position > 0 ? buckets : 0;
    distance = std::abs(relative_position);
  }
  const std::int64_t exact = buckets / 2;
  GALREC_CHECK(exact >= 1 && max_distance > exact, "{} buckets up to distance {}", buckets, max_distance);
  if (distance < exact) return static_cast<std::int32_t>(offset + distance);
  const std::int64_t step = logarithmic_step(distance, exact, buckets - exact, max_distance);
  return static_cast<std::int32_t>(offset + std::min(exact + step, buckets - 1));
}

BucketTable::BucketTable(BucketDirection direction, std::int64_t buckets, std::int64_t max_distance) {
  index_.reserve(static_cast<std::size_t>(2 * max_distance + 1));
  for (std::int64_t r = -max_distance; r <= max_distance; ++r) {
    index_.push_back(relative_bucket(r, direction, buckets, max_distance));
  }
}

}  // namespace galrec::layers
