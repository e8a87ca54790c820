#include "kernels/simt/grid.h"

#include <atomic>
#include <exception>
#include <mutex>

#include "kernels/common/check.h"
#include "kernels/simt/block_runner.h"
#include "kernels/simt/device_memory.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/schedule.h"
#include "kernels/simt/thread_pool.h"

namespace galrec::simt {

namespace {

// The limits of an H100.
constexpr unsigned kMaxThreads = 1024, kMaxGridX = 0x7fffffff, kMaxGridYZ = 65535, kMaxBlockZ = 64;
constexpr std::size_t kMaxShared = 227 * 1024;
// Below this many CUDA threads in all, waking another OS thread costs more than it helps.
constexpr std::uint64_t kWorthSharing = 1024;

std::string describe(const Launch& l) {
  return fmt::format("{}:{}: launch of {} with grid ({},{},{}), block ({},{},{}), {} bytes of shared memory", l.where.file,
                     l.where.line, name_of_kernel(l.kernel), l.grid.x, l.grid.y, l.grid.z, l.block.x, l.block.y, l.block.z,
                     l.shared_bytes);
}

}  // namespace

void check_launch(const Launch& l) {
  const auto threads = std::uint64_t{l.block.x} * l.block.y * l.block.z;
  if (running_lane != nullptr) throw Error(describe(l) + ": from inside a kernel");
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0 || threads == 0) throw Error(describe(l) + ": an empty grid or block");
  if (l.grid.x > kMaxGridX || l.grid.y > kMaxGridYZ || l.grid.z > kMaxGridYZ) throw Error(describe(l) + ": the grid is too large");
  if (threads > kMaxThreads || l.block.z > kMaxBlockZ) throw Error(describe(l) + ": the block is too large");
  if (l.shared_bytes > kMaxShared) throw Error(fmt::format("{}: at most {} bytes of shared memory", describe(l), kMaxShared));
}

namespace {

/// Tells the observer of the end, come what may.
class Observation {
 public:
  explicit Observation(const Launch& launch) : launch_(launch) {
    if (Observer* o = observer()) o->launch_begins(launch_);
  }
  ~Observation() {
    if (Observer* o = observer()) o->launch_ends(launch_);
  }
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;

 private:
  const Launch& launch_;
};

}  // namespace

void run_grid(const Launch& launch) {
  check_launch(launch);
  const Schedule schedule = current_schedule();
  const std::uint64_t blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const BlockOrder order(schedule, blocks);
  const DeviceAccess access;
  const Observation observation(launch);

  std::atomic<std::uint64_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      BlockRunner& runner = BlockRunner::of_this_thread();
      runner.prepare(launch, schedule);
      for (std::uint64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) runner.run(order[i]);
    } catch (...) {
      next.store(blocks, std::memory_order_relaxed);
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  const auto threads = std::uint64_t{launch.block.x} * launch.block.y * launch.block.z;
  const bool alone = observer() != nullptr || blocks == 1 || schedule.os_threads <= 1 || blocks * threads < kWorthSharing;
  if (alone) {
    work();
  } else {
    ThreadPool::shared().run(schedule.os_threads, work);
  }
  Observer* const watching_now = observer();
  if (!error && watching_now == nullptr) return;
  try {
    if (error) std::rethrow_exception(error);
    watching_now->verify_launch(launch);
  } catch (const Error& e) {
    throw Error(describe(launch) + ": " + e.what(), e.exit_code());
  }
}

}  // namespace galrec::simt
