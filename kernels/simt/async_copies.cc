#include "kernels/simt/async_copies.h"

#include <algorithm>
#include <cstring>

#include "kernels/simt/block_runner.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/warp_matrix.h"

namespace galrec::simt {

namespace {
constexpr unsigned char kPoison = 0xff;
}  // namespace

void AsyncCopies::begin(const AsyncCopy& copy) {
  std::memset(copy.to, kPoison, static_cast<std::size_t>(copy.bytes));
  queue.push_back(copy);
}

void AsyncCopies::wait(std::size_t left, const Lane& lane) {
  while (group_ends.size() - waited > left) {
    for (const std::size_t end = group_ends[waited++]; performed < end; ++performed) {
      const AsyncCopy& copy = queue[performed];
      const auto bytes = static_cast<std::size_t>(copy.bytes), valid = static_cast<std::size_t>(copy.valid);
      if (!std::all_of(copy.to, copy.to + bytes, [](std::byte b) { return b == std::byte{kPoison}; })) {
        fail("cp.async: its destination was written before it was waited for", copy.where);
      }
      if (valid > 0) std::memcpy(copy.to, copy.from, valid);
      std::memset(copy.to + valid, 0, bytes - valid);
      if (Observer* o = observer()) o->copy_ends(lane, copy);
    }
  }
  if (waited == group_ends.size() && idle()) clear();
}

void AsyncCopies::clear() {
  queue.clear();
  group_ends.clear();
  performed = waited = 0;
}

void cp_async(void* shared, const void* global, int bytes, int valid_bytes, Place where) {
  Lane& lane = *running_lane;
  const Block& block = *lane.block;
  auto* to = static_cast<std::byte*>(shared);
  if (valid_bytes < 0 || valid_bytes > bytes) fail("cp.async: " + std::to_string(valid_bytes) + " valid bytes", where);
  check_aligned(shared, static_cast<std::size_t>(bytes), "cp.async: shared address", where);
  if (valid_bytes > 0) check_aligned(global, static_cast<std::size_t>(bytes), "cp.async: global address", where);
  if (to < block.shared || to + bytes > block.shared + block.shared_bytes) {
    fail("cp.async: the destination is not in the block's shared memory", where);
  }
  const AsyncCopy copy{to, static_cast<const std::byte*>(global), bytes, valid_bytes, where};
  lane.copies->begin(copy);
  if (Observer* o = observer()) o->copy_begins(lane, copy);
}

void cp_async_commit() { running_lane->copies->close_group(); }

void cp_async_wait(int groups_left) { running_lane->copies->wait(static_cast<std::size_t>(groups_left), *running_lane); }

}  // namespace galrec::simt
