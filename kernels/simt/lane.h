#pragma once
// What runs: a lane is one CUDA thread, 32 of them are a warp, warps are a block. A block stays on one OS thread, so the
// running lane is a thread-local pointer and nothing here needs a lock.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/common/place.h"
#include "kernels/simt/vector_types.h"

namespace galrec::simt {

class Fiber;
struct Warp;
struct Block;
struct AsyncCopies;
class BlockRunner;

/// Combines what the lanes of `mask` brought to the warp operation at `where`; runs once, in the lane that arrived last.
using Combine = void (*)(Warp& warp, unsigned mask, Place where);

/// One CUDA thread.
struct Lane {
  uint3 thread{};       // threadIdx
  unsigned linear = 0;  // in the block
  unsigned lane = 0;    // in the warp
  Warp* warp = nullptr;
  Block* block = nullptr;
  Fiber* fiber = nullptr;         // null while it has no stack: before it first runs, after it exits
  void* argument = nullptr;       // what it brought to the warp operation at which it waits
  const char* barrier = "";       // the block barrier at which it waits, for messages
  Place barrier_place{};
  AsyncCopies* copies = nullptr;  // cp.async not yet performed
  unsigned warp_epoch = 0;        // counts its __syncwarp, which order memory within the warp
};

/// A warp operation that some lanes have reached and others have not.
struct PendingOperation {
  const char* name = "";
  Combine combine = nullptr;
  unsigned mask = 0;
  unsigned arrived = 0;
  Place where{};
};

struct Warp {
  Block* block = nullptr;
  Lane* lanes = nullptr;    // 32 consecutive ones
  unsigned index = 0;       // in the block
  unsigned exists = 0;      // lanes that the block has (the last warp may be partial)
  unsigned ready = 0;       // lanes that can run and do not
  unsigned at_barrier = 0;  // lanes that wait for the block
  unsigned exited = 0;
  unsigned pending_count = 0;
  std::array<PendingOperation, 32> pending{};
};

/// The block that an OS thread is running.
struct Block {
  uint3 index{};  // blockIdx
  dim3 dim{};     // blockDim
  dim3 grid{};    // gridDim
  unsigned threads = 0;
  unsigned warps = 0;
  Lane* lanes = nullptr;
  Warp* warp = nullptr;
  std::byte* shared = nullptr;
  std::size_t shared_bytes = 0;
  unsigned epoch = 0;  // counts block barriers
  std::uint64_t linear_index = 0;
  BlockRunner* runner = nullptr;
};

/// The running CUDA thread; null in host code.
inline constinit thread_local Lane* running_lane = nullptr;

/// Throws galrec::Error that names the running block, thread and `where`.
[[noreturn]] void fail(const std::string& what, Place where);

}  // namespace galrec::simt

#define threadIdx (::galrec::simt::running_lane->thread)
#define blockIdx (::galrec::simt::running_lane->block->index)
#define blockDim (::galrec::simt::running_lane->block->dim)
#define gridDim (::galrec::simt::running_lane->block->grid)
inline constexpr int warpSize = 32;
