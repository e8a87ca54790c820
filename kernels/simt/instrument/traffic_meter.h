#pragma once
// Counts what a kernel moves, the way the hardware would: the k-th execution of one load or store instruction by the
// lanes of a warp, counted from where all of them last met, is one request; a request costs as many 32-byte sectors of
// global memory as it touches, and as many passes over the 32 banks of shared memory as its most loaded bank has
// different words (16-byte accesses go by quarter warps, 8-byte ones by halves).

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
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

/// The sectors that one launch has touched.
class SectorSet {
 public:
  /// True if it was not there before.
  bool insert(std::uintptr_t sector);
  void clear();

 private:
  static constexpr std::uintptr_t kPage = 4096;  // sectors
  std::unordered_map<std::uintptr_t, std::unique_ptr<std::bitset<kPage>>> pages_;
  std::uintptr_t last_ = ~std::uintptr_t{0};
  std::bitset<kPage>* last_page_ = nullptr;
};

class TrafficMeter {
 public:
  void begin_launch(const std::string& kernel, std::uint64_t blocks, std::uint64_t threads, std::size_t shared_bytes);
  void end_launch();
  /// The accesses of a warp's lanes arrive lane by lane; its requests are counted when the lanes meet or are done.
  void on_access(const Lane& lane, const Access& access);
  /// All lanes of the warp have met.
  void on_convergence(unsigned warp);
  /// Eight rows of 16 bytes at a time.
  void on_ldmatrix(const std::uintptr_t* rows, int matrices);
  void on_mma(std::uint64_t flops) { current().mma_flops += flops; }
  void on_block_barrier() { ++current().barriers; }
  void end_block();

  /// By kernel name.
  const std::map<std::string, KernelTraffic>& kernels() const { return kernels_; }
  void clear() { kernels_.clear(); }

 private:
  static constexpr unsigned kLanes = 32;

  /// What each lane of a warp asked for in one execution of an instruction.
  struct Request {
    std::uint32_t lanes = 0;
    Space space{};
    AccessType type{};
    std::array<std::uintptr_t, kLanes> address;
    std::array<std::uint32_t, kLanes> bytes;
  };
  /// One instruction in one warp: its requests in order, and how often each lane has executed it.
  struct Site {
    std::vector<Request> requests;  // the first `used` are alive
    std::size_t used = 0;
    std::array<std::uint32_t, kLanes> executed{};
  };
  struct WarpSites {
    std::vector<Site> sites;
    std::vector<std::uint32_t> touched;  // sites with requests
    std::unordered_map<const void*, std::uint32_t> numbers;
    std::array<std::pair<const void*, std::uint32_t>, 256> recent{};  // by the low bits of the instruction
  };

  KernelTraffic& current() { return *current_; }
  static Site& site_of_warp(WarpSites& warp, const void* pc);
  void count(const Request& request);
  void count_global(const Request& request, GlobalTraffic& traffic, SectorSet& seen);

  std::map<std::string, KernelTraffic> kernels_;
  KernelTraffic* current_ = nullptr;
  std::vector<std::unique_ptr<WarpSites>> warps_;  // of the running block
  std::vector<std::pair<std::uintptr_t, std::uint32_t>>
      sectors_;                // of the request at hand: which, and the mask of its bytes
  SectorSet loaded_, stored_;  // of the running launch
};

}  // namespace galrec::simt
