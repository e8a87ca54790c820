#pragma once
// One memory access of a CUDA thread, as the instrumented build sees it: the compiler's -fsanitize=thread callbacks
// report plain loads and stores, the executor reports those of its warp matrix and asynchronous copy instructions.

#include <cstddef>
#include <cstdint>

#include "kernels/common/place.h"
#include "kernels/simt/lane.h"

namespace galrec::simt {

enum class AccessType : std::uint8_t { kRead, kWrite, kAtomic };
enum class Space : std::uint8_t { kGlobal, kShared };

struct Access {
  std::uintptr_t address = 0;
  std::uint32_t bytes = 0;
  AccessType type = AccessType::kRead;
  Space space = Space::kGlobal;
  const void* pc = nullptr;  // the instruction; what tells one load of a kernel from another
};

}  // namespace galrec::simt
