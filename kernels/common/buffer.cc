#include "kernels/common/buffer.h"

#include <algorithm>

namespace galrec {

namespace {
constexpr std::size_t kMinChunkBytes = std::size_t{1} << 20;
}

void* Arena::alloc_bytes(std::size_t bytes) {
  bytes = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  while (mark_.chunk < chunks_.size()) {
    auto& chunk = chunks_[mark_.chunk];
    if (mark_.used + bytes <= static_cast<std::size_t>(chunk.size())) {
      void* p = chunk.data() + mark_.used;
      mark_.used += bytes;
      return p;
    }
    ++mark_.chunk;
    mark_.used = 0;
  }
  const std::size_t previous = chunks_.empty() ? 0 : static_cast<std::size_t>(chunks_.back().size());
  chunks_.emplace_back(static_cast<std::int64_t>(std::max({bytes, kMinChunkBytes, previous})), *memory_);
  ++system_allocations_;
  std::size_t held = 0;
  for (const auto& c : chunks_) held += static_cast<std::size_t>(c.size());
  peak_bytes_ = std::max(peak_bytes_, held);
  mark_ = {chunks_.size() - 1, bytes};
  return chunks_.back().data();
}

void Arena::reset() {
  if (chunks_.size() > 1) {
    std::size_t total = 0;
    for (const auto& c : chunks_) total += static_cast<std::size_t>(c.size());
    chunks_.clear();
    chunks_.emplace_back(static_cast<std::int64_t>(total), *memory_);
    ++system_allocations_;
  }
  mark_ = {};
}

}  // namespace galrec
