#pragma once
// Data races of CUDA threads in shared and global memory. Two accesses of one launch race when they touch the same
// bytes, one of them writes, not both are atomic, and nothing orders them:
//   - threads of one block are ordered by a block barrier between them, lanes of one warp also by __syncwarp;
//   - threads of different blocks are never ordered within a launch.
// Reads of shared memory that nobody wrote are reported, too. Exact to the byte: see shadow_memory.h.

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/simt/instrument/access.h"
#include "kernels/simt/instrument/shadow_memory.h"

namespace galrec::simt {

class RaceDetector {
 public:
  void begin_launch() {
    ++launch_;
    reported_.clear();
  }
  void begin_block(std::size_t shared_bytes);
  void on_access(const Lane& lane, const Access& access);

  /// One sentence per racing pair of instructions, at most kMostReports; taken away by the call.
  std::vector<std::string> take_reports();

  static constexpr std::size_t kMostReports = 16;

 private:
  struct Touch {
    std::uint32_t block = 0, thread = 0, block_epoch = 0, warp_epoch = 0;
    std::uint32_t pc = 0;  // index into pcs_; 0: no access yet
    bool atomic = false;
  };
  struct Cell {
    std::uint32_t era = 0;  // the launch (global memory) or block (shared) that it tells of
    Touch write, read[2];
  };

  bool ordered(const Touch& earlier, const Touch& now) const;
  void check(Cell& cell, const Touch& now, AccessType type, const Access& access, std::size_t shared_offset);
  void report(const char* what, const Touch& earlier, const Touch& now, const Access& access,
              std::size_t shared_offset);
  std::uint32_t number_of(const void* pc);
  ShadowMemory<Cell>& page_of(std::uintptr_t address);

  static constexpr std::uintptr_t kPageBytes = 4096;
  static constexpr std::size_t kCached = 1024;

  std::uint32_t launch_ = 0;
  std::uint32_t blocks_ = 0;  // begun so far: shared memory starts anew with each
  ShadowMemory<Cell> shared_;
  std::unordered_map<std::uintptr_t, ShadowMemory<Cell>> pages_;
  std::unordered_map<const void*, std::uint32_t> pc_numbers_;
  // The last pages and instructions seen, by their low bits.
  std::array<std::pair<std::uintptr_t, ShadowMemory<Cell>*>, kCached> recent_pages_{};
  std::array<std::pair<const void*, std::uint32_t>, kCached> recent_pcs_{};
  std::vector<const void*> pcs_{nullptr};
  std::unordered_map<std::uint64_t, bool> reported_;  // pairs of instructions
  std::vector<std::string> reports_;
};

}  // namespace galrec::simt
