#pragma once
// The rings of negatives (paper section IV-D, MoCo): keys of user 0-hop, user 2-hop, item 0-hop and item 2-hop prompts.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/checkpoint_reader.h"
#include "data/safetensors_writer.h"
#include "gal/options.h"
#include "kernels/common/buffer.h"
#include "kernels/common/context.h"
#include "kernels/common/host_view.h"
#include "kernels/common/view.h"

namespace galrec::gal {

enum class Queue { kU0, kU2, kI0, kI2 };
inline constexpr int kQueues = 4;
std::string_view queue_name(Queue q);  ///< "u0", "u2", "i0", "i2"
constexpr bool is_user_queue(Queue q) {
  return q == Queue::kU0 || q == Queue::kU2;
}

/// Rows for the four queues, (samples, d) each, in the order of Queue. They live on a tape, in the memory of its device.
template <class T>
struct Keys {
  std::array<View<const T, 2>, kQueues> rows;
  const View<const T, 2>& operator[](Queue q) const { return rows[static_cast<std::size_t>(q)]; }
};

/// Four rings of the same capacity, written together at one pointer; the user queues share their ids, as do the item
/// queues. Rows lie in the memory of a device; ids on the host as well, where the ring's bookkeeping is done.
template <class T>
class NegativeQueues {
 public:
  NegativeQueues(std::int64_t capacity, std::int64_t d, MemoryResource& memory = host_memory());
  /// QueueStart::kRandom: full of random unit rows that belong to nobody (id -1).
  void fill_random(std::uint64_t seed);

  std::int64_t capacity() const { return capacity_; }
  std::int64_t dim() const { return d_; }
  std::int64_t count() const { return count_; }
  std::int64_t pointer() const { return pointer_; }

  MemoryResource& memory() const { return *memory_; }

  /// The valid rows (count, d) and their ids (count), on the device.
  View<const T, 2> keys(Queue q) const;
  View<const std::int32_t, 1> ids(Queue q) const;
  /// The valid ids on the host.
  std::span<const std::int32_t> host_ids(Queue q) const { return all_ids(q).first(static_cast<std::size_t>(count_)); }
  /// The whole ring, valid or not: (capacity, d) on the device, (capacity) on the host.
  View<const T, 2> all_rows(Queue q) const { return rows_[static_cast<std::size_t>(q)].view(capacity_, d_); }
  std::span<const std::int32_t> all_ids(Queue q) const { return is_user_queue(q) ? user_ids_ : item_ids_; }

  /// Writes the rows of a batch at the pointer, wrapping; a batch larger than the ring leaves its last rows. Queued behind the
  /// device's work: no wait.
  void push(const Keys<T>& keys, std::span<const std::int32_t> users, std::span<const std::int32_t> items);
  /// The same in two halves, for a step whose place in the ring only the device knows. First the rows that a batch of n
  /// will go to, -1 for those that do not stay; then, on the device, keys, ids and those rows, each (n); then, on the
  /// host, what push() remembers.
  std::vector<std::int32_t> next_rows(std::int64_t n) const;
  void write(const Device& device, const Keys<T>& keys, View<const std::int32_t, 1> users,
             View<const std::int32_t, 1> items, View<const std::int32_t, 1> rows);
  void remember(std::span<const std::int32_t> users, std::span<const std::int32_t> items);
  /// Mean number of push() calls since the valid rows were written; 0 for rows of the last call.
  double mean_age() const;

  /// Everything, for a checkpoint: tensors queue.u0 ... queue.i2 (capacity, d), queue_id.u, queue_id.i, queue_birth
  /// (capacity), queue_state (pointer, count, pushes). The values are not copied: write before the next push.
  void add_to(data::SafetensorsWriter& writer) const;
  /// DataError where a tensor is missing or has another shape.
  void load(const data::CheckpointReader& reader);
  /// Direct state, for fixtures: rows [0, capacity) of each queue are given, on the host.
  void set_state(const Keys<T>& all_rows, std::span<const std::int32_t> users, std::span<const std::int32_t> items,
                 std::int64_t pointer, std::int64_t count);

 private:
  void write_rows(Queue q, const T* host_rows);
  void upload_ids();

  MemoryResource* memory_;
  std::int64_t capacity_, d_;
  std::int64_t pointer_ = 0, count_ = 0, pushes_ = 0;
  std::array<Buffer<T>, kQueues> rows_;
  std::vector<std::int32_t> user_ids_, item_ids_;
  Buffer<std::int32_t> device_user_ids_, device_item_ids_;  // their copies; empty where the device reads the host's memory
  std::vector<std::int64_t> birth_;              // value of pushes_ when the row was written
  mutable std::array<std::int64_t, 3> state_{};  // what add_to() hands out
  mutable std::vector<HostView<T, 2>> saved_;    // as well
};

extern template class NegativeQueues<float>;
extern template class NegativeQueues<double>;
extern template class NegativeQueues<bfloat16>;

}  // namespace galrec::gal
