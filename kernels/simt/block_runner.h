#pragma once
// Runs the blocks of a grid, one at a time, on one OS thread: lanes as fibers, in the order that the schedule says. Each lane
// runs alone to its next collective, and each warp to its next block barrier, before another one moves: what works only by
// lockstep or by luck fails here.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/async_copies.h"
#include "kernels/simt/collectives.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/grid.h"
#include "kernels/simt/lane.h"
#include "kernels/simt/schedule.h"
#include "kernels/simt/shared_buffer.h"

namespace galrec::simt {

class BlockRunner {
 public:
  /// The one of the calling OS thread: stacks and buffers are kept from launch to launch.
  static BlockRunner& of_this_thread();

  BlockRunner() = default;
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  /// Makes ready for the blocks of one launch.
  void prepare(const Launch& launch, const Schedule& schedule);
  /// Runs one block to its end. Rethrows its first error, after which the next block can be run as usual.
  void run(std::uint64_t linear_index);

  // For the running lane.

  /// Waits until somebody makes this lane ready again.
  void suspend();
  int barrier(const char* name, BarrierKind kind, int predicate, Place where);
  void collective(const char* name, unsigned mask, void* argument, Combine combine, Place where);
  /// Ends the block with an error, from code that may not throw. The lane's stack is not unwound.
  [[noreturn]] void stop(const std::string& message);

  /// Which lanes wait where, one line for each group of lanes alike.
  std::string table() const;

 private:
  PendingOperation& join(const char* name, unsigned mask, Combine combine, Place where);
  [[noreturn]] void fail_to_meet(const PendingOperation& other, const char* name, unsigned mask, Place where) const;
  [[noreturn]] void fail_to_come(const PendingOperation& awaited, const Lane& lane, const char* instead, Place where) const;
  static void fiber_main();
  void run_body(Lane& lane);
  Lane* next_of(Warp& warp);
  Fiber& enter(Lane& lane);
  void reset_block(std::uint64_t linear_index);
  void release_barrier(Lane* running);
  void abandon();
  void expect_nobody_waits_for(const Lane& lane, const char* instead, Place where) const;
  [[noreturn]] void fail_with_table(const std::string& what) const;

  struct BarrierState {
    const char* name = "";
    BarrierKind kind = BarrierKind::kPlain;
    Place where{};
    unsigned arrived = 0;
    bool mixed = false;
    int count = 0;   // of the barrier that is filling
    int result = 0;  // of the last one released
  };

  Launch launch_{};
  Schedule schedule_{};
  OrderGenerator generator_;
  Block block_{};
  std::vector<Lane> lanes_;
  std::vector<Warp> warps_;
  std::vector<AsyncCopies> copies_;
  SharedBuffer shared_;
  unsigned ready_warps_ = 0;
  unsigned exited_ = 0;
  BarrierState barrier_;
  std::exception_ptr error_;

  Fiber scheduler_;  // this OS thread
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;
};

}  // namespace galrec::simt
