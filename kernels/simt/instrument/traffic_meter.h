#pragma once
// Counts what a kernel moves, the way the hardware would: the k-th execution of one load or store instruction by the
// lanes of a warp is one request; a request costs as many 32-byte sectors of global memory as it touches, and as many
// passes over the 32 banks of shared memory as its most loaded bank has different words (16-byte accesses go by quarter
// warps, 8-byte ones by halves).

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernels/simt/instrument/access.h"

namespace galrec::simt {

/// Global memory in one direction.
struct GlobalTraffic {
  std::uint64_t requests = 0;
  std::uint64_t sectors = 0;         // summed over requests: what L1 asks of L2
  std::uint64_t used_bytes = 0;      // of those sectors, bytes that some lane asked for
  std::uint64_t unique_sectors = 0;  // different ones per launch: the least that DRAM moves when L2 holds the rest
};

/// Shared memory in one direction.
struct SharedTraffic {
  std::uint64_t requests = 0;
  std::uint64_t passes = 0;        // over the banks
  std::uint64_t least_passes = 0;  // without conflicts
};

/// All launches of one kernel.
struct KernelTraffic {
  std::string name;
  std::uint64_t launches = 0, blocks = 0, threads = 0, shared_bytes = 0;
  GlobalTraffic load, store;
  std::uint64_t atomics = 0;
  SharedTraffic shared_load, shared_store, ldmatrix;
  std::uint64_t barriers = 0;  // block barriers, summed over blocks
  std::uint64_t mma_flops = 0;
};

class TrafficMeter {
 public:
  void begin_launch(const std::string& kernel, std::uint64_t blocks, std::uint64_t threads, std::size_t shared_bytes);
  void end_launch();
  /// The accesses of a warp's lanes arrive lane by lane; its requests are counted when the warp is done.
  void on_access(const Lane& lane, const Access& access);
  /// Eight rows of 16 bytes at a time.
  void on_ldmatrix(const std::uintptr_t* rows, int matrices);
  void on_mma(std::uint64_t flops) { current().mma_flops += flops; }
  void on_block_barrier() { ++current().barriers; }
  void end_block();

  /// By kernel name.
  const std::map<std::string, KernelTraffic>& kernels() const { return kernels_; }
  void clear() { kernels_.clear(); }

 private:
  struct Part {
    std::uintptr_t address;
    std::uint32_t bytes;
    std::uint32_t lane;
  };
  struct Request {
    Space space;
    AccessType type;
    std::vector<Part> parts;
  };
  /// One instruction in one warp: its requests in order, and how often each lane has executed it.
  struct Site {
    std::vector<Request> requests;
    std::uint32_t executed[32] = {};
  };

  KernelTraffic& current() { return *current_; }
  void count(const Request& request);
  void count_global(const Request& request, GlobalTraffic& traffic, std::unordered_set<std::uintptr_t>& seen);
  static void count_shared(const Request& request, SharedTraffic& traffic);

  std::map<std::string, KernelTraffic> kernels_;
  KernelTraffic* current_ = nullptr;
  std::unordered_map<std::uint32_t, std::unordered_map<const void*, Site>> warps_;  // of the running block
  std::unordered_set<std::uintptr_t> loaded_, stored_;                              // sectors of the running launch
};

}  // namespace galrec::simt
