#pragma once
// T5's relative position buckets, as a table over clamped distances.

#include <cstdint>
#include <vector>

#include "autograd/tape.h"
#include "kernels/attention/attention.h"

namespace galrec::layers {

enum class BucketDirection { kBidirectional, kCausal };

/// Bucket of key position - query position (Raffel et al. 2020; T5Attention._relative_position_bucket). Half of the
/// (per side) buckets are exact distances, the others logarithmic up to max_distance.
std::int32_t relative_bucket(std::int64_t relative_position, BucketDirection direction, std::int64_t buckets,
                             std::int64_t max_distance);

/// Owns the table of all distances up to max_distance, beyond which the bucket no longer changes.
class BucketTable {
 public:
  /// CheckError unless max_distance exceeds the exact distances.
  BucketTable(BucketDirection direction, std::int64_t buckets, std::int64_t max_distance);
  RelativeBuckets view() const { return {view_of(index_)}; }
  /// The table in the memory of a tape's device, brought there at the first call. One device for each table.
  template <class T>
  RelativeBuckets on(autograd::Tape<T>& tape) const {
    MemoryResource& memory = tape.arena().memory();
    if (memory.host_accessible()) return view();
    if (on_device_.size() == 0) on_device_ = Buffer<std::int32_t>(std::span<const std::int32_t>(index_), memory);
    GALREC_CHECK(&on_device_.memory() == &memory, "a stack that runs on two devices");
    return {on_device_.view()};
  }

 private:
  std::vector<std::int32_t> index_;  // (2M+1)
  mutable Buffer<std::int32_t> on_device_;
};

}  // namespace galrec::layers
