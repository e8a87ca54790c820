#pragma once
// Who watches a run: the race detector and the traffic meter. None by default: an event then costs one test of a pointer.
// A watched grid runs on one OS thread: events come one after the other, block by block.

#include <atomic>
#include <cstddef>

#include "kernels/common/place.h"
#include "kernels/simt/async_copies.h"
#include "kernels/simt/grid.h"
#include "kernels/simt/lane.h"

namespace galrec::simt {

enum class MatrixShape { kM16N8K16Bf16, kM16N8K8Tf32 };

class Observer {
 public:
  virtual ~Observer() = default;

  virtual void launch_begins(const Launch&) {}
  /// Also after an error.
  virtual void launch_ends(const Launch&) {}
  /// After a grid without error; throws galrec::Error when what was seen is one.
  virtual void verify_launch(const Launch&) {}
  /// `shared` and `shared_bytes` of the block are set; the memory is poisoned.
  virtual void block_begins(const Block&) {}
  /// Not after an error.
  virtual void block_ends(const Block&) {}
  virtual void lane_ends(const Lane&) {}

  /// All threads of the block met; its epoch has been raised.
  virtual void block_barrier(const Block&, Place) {}
  /// The lanes of `mask` met. `name` is the intrinsic's ("__shfl_xor_sync", "mma.m16n8k16.bf16", "__syncwarp", …); only
  /// "__syncwarp" orders memory, and has raised the lanes' warp_epoch.
  virtual void warp_operation(const Warp&, const char* /*name*/, unsigned /*mask*/, Place) {}

  /// ldmatrix: lane 8i+j gives row j (16 bytes of shared memory) of matrix i; there are 1, 2 or 4 matrices.
  virtual void ldmatrix(const Warp&, const void* const* /*rows*/, int /*matrices*/, Place) {}
  virtual void mma(const Warp&, MatrixShape, Place) {}
  /// cp.async when it is issued: `valid` bytes of global memory are to be read.
  virtual void copy_begins(const Lane&, const AsyncCopy&) {}
  /// cp.async when its group has been waited for: `bytes` of shared memory have been written.
  virtual void copy_ends(const Lane&, const AsyncCopy&) {}
};

inline constinit std::atomic<Observer*> watching{nullptr};

/// The observer of all launches, or null.
inline Observer* observer() { return watching.load(std::memory_order_relaxed); }
/// Not while a grid runs. Returns the one before. Not owned.
inline Observer* set_observer(Observer* next) { return watching.exchange(next); }

}  // namespace galrec::simt
