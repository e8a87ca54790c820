#pragma once
// In which order lanes and blocks run, and when a stream's work is done. A right program gives the same bits under all of them.

#include <cstdint>

namespace galrec::simt {

enum class Order { kForward, kReverse, kShuffled };
/// When the work of a stream is done: at once, or as late as allowed, when somebody waits for it. Host code that forgets to wait
/// works by luck under the first and fails under the second.
enum class StreamMode { kImmediate, kDeferred };

struct Schedule {
  Order lanes = Order::kForward;   // of the lanes in a warp and of the warps in a block
  Order blocks = Order::kForward;  // of the blocks in a grid
  std::uint64_t seed = 1;          // of what is shuffled
  int os_threads = 0;              // that share a grid's blocks; 0: OMP_NUM_THREADS or the processors
  StreamMode streams = StreamMode::kImmediate;
};

/// What launches follow: at first GALREC_SIMT_LANES, GALREC_SIMT_BLOCKS (forward, reverse, shuffled), GALREC_SIMT_SEED,
/// GALREC_SIMT_THREADS and GALREC_SIMT_STREAMS (immediate, deferred) from the environment. UsageError for a value that means
/// nothing.
Schedule current_schedule();

/// Another schedule for the scope's lifetime. Not while another thread launches.
class ScheduleScope {
 public:
  explicit ScheduleScope(const Schedule& schedule);
  ~ScheduleScope();
  ScheduleScope(const ScheduleScope&) = delete;
  ScheduleScope& operator=(const ScheduleScope&) = delete;

 private:
  Schedule before_;
};

/// A small generator for shuffled orders; each block has its own, so that results do not depend on OS threads.
class OrderGenerator {
 public:
  explicit OrderGenerator(std::uint64_t seed = 0) : state_(seed) {}
  std::uint64_t next() {  // SplitMix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }

 private:
  std::uint64_t state_;
};

/// One of the bits set in `ready` (not 0): which one runs next.
unsigned pick(unsigned ready, Order order, OrderGenerator& generator);

/// The block that runs as number `position` of `count`: each exactly once.
class BlockOrder {
 public:
  BlockOrder(const Schedule& schedule, std::uint64_t count);
  std::uint64_t operator[](std::uint64_t position) const;

 private:
  std::uint64_t count_;
  std::uint64_t factor_ = 1;
  std::uint64_t offset_ = 0;
};

}  // namespace galrec::simt
