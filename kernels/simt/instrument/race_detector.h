#pragma once
// Data races of CUDA threads in shared and global memory. Two accesses of one launch race when they touch the same bytes, one
// of them writes, not both are atomic, and nothing orders them:
//   - threads of one block are ordered by a block barrier between them, lanes of one warp also by __syncwarp;
//   - threads of different blocks are never ordered within a launch.
// Shared memory is checked byte by byte, and reads of bytes that nobody wrote are reported; global memory in pairs of bytes.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/simt/instrument/access.h"

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
    std::uint32_t launch = 0;
    Touch write, read[2];
  };

  bool ordered(const Touch& earlier, const Touch& now) const;
  void check(Cell& cell, const Touch& now, AccessType type, const Access& access, std::size_t shared_offset);
  void report(const char* what, const Touch& earlier, const Touch& now, const Access& access, std::size_t shared_offset);
  std::uint32_t number_of(const void* pc);
  Cell* global_cells(std::uintptr_t page);

  static constexpr std::uintptr_t kPageBytes = 4096, kGlobalGrain = 2;

  std::uint32_t launch_ = 0;
  std::uint32_t generation_ = 0;  // counts blocks: shared memory starts anew with each
  std::vector<Cell> shared_;
  std::vector<bool> written_;
  std::unordered_map<std::uintptr_t, std::vector<Cell>> pages_;
  std::uintptr_t last_page_ = 0;
  Cell* last_cells_ = nullptr;
  std::unordered_map<const void*, std::uint32_t> pc_numbers_;
  std::vector<const void*> pcs_{nullptr};
  std::unordered_map<std::uint64_t, bool> reported_;  // pairs of instructions
  std::vector<std::string> reports_;
};

}  // namespace galrec::simt
