#include "kernels/simt/instrument/race_detector.h"

#include <algorithm>
#include <utility>

#include "kernels/simt/instrument/sites.h"

namespace galrec::simt {

void RaceDetector::begin_block(std::size_t shared_bytes) {
  ++generation_;
  if (shared_.size() < shared_bytes) shared_.resize(shared_bytes);
  written_.assign(shared_bytes, false);
}

std::uint32_t RaceDetector::number_of(const void* pc) {
  const auto [at, added] = pc_numbers_.try_emplace(pc, static_cast<std::uint32_t>(pcs_.size()));
  if (added) pcs_.push_back(pc);
  return at->second;
}

RaceDetector::Cell* RaceDetector::global_cells(std::uintptr_t page) {
  if (last_cells_ == nullptr || page != last_page_) {
    auto& cells = pages_[page];
    if (cells.empty()) cells.resize(kPageBytes / kGlobalGrain);
    last_page_ = page;
    last_cells_ = cells.data();
  }
  return last_cells_;
}

bool RaceDetector::ordered(const Touch& earlier, const Touch& now) const {
  if (earlier.pc == 0) return true;
  if (earlier.block != now.block) return false;
  if (earlier.thread == now.thread || earlier.block_epoch != now.block_epoch) return true;
  return earlier.thread / 32 == now.thread / 32 && earlier.warp_epoch != now.warp_epoch;
}

void RaceDetector::check(Cell& cell, const Touch& now, AccessType type, const Access& access, std::size_t shared_offset) {
  const auto races = [&](const Touch& earlier) {
    return !ordered(earlier, now) && !(earlier.atomic && now.atomic);
  };
  if (races(cell.write)) report(type == AccessType::kRead ? "read after write" : "two writes", cell.write, now, access, shared_offset);
  if (type == AccessType::kRead) {
    // Of readers that nothing orders two are kept: whoever writes next races with one that is not itself.
    Touch& slot = cell.read[0].pc == 0 || ordered(cell.read[0], now) ? cell.read[0] : cell.read[1];
    slot = now;
    return;
  }
  for (const Touch& reader : cell.read) {
    if (races(reader)) report("write after read", reader, now, access, shared_offset);
  }
  cell.write = now;
  cell.read[0] = cell.read[1] = Touch{};
}

void RaceDetector::on_access(const Lane& lane, const Access& access) {
  const Touch now{.block = static_cast<std::uint32_t>(lane.block->linear_index),
                  .thread = lane.linear,
                  .block_epoch = lane.block->epoch,
                  .warp_epoch = lane.warp_epoch,
                  .pc = number_of(access.pc),
                  .atomic = access.type == AccessType::kAtomic};
  if (access.space == Space::kShared) {
    const std::size_t first = access.address - reinterpret_cast<std::uintptr_t>(lane.block->shared);
    for (std::size_t at = first; at < std::min(first + access.bytes, written_.size()); ++at) {
      Cell& cell = shared_[at];
      if (cell.launch != generation_) cell = Cell{.launch = generation_, .write = {}, .read = {}};
      if (access.type == AccessType::kRead && !written_[at]) {
        report("read of shared memory that nobody wrote", Touch{}, now, access, at);
        return;
      }
      if (access.type != AccessType::kRead) written_[at] = true;
      check(cell, now, access.type, access, at);
    }
    return;
  }
  const std::uintptr_t last = (access.address + access.bytes - 1) / kGlobalGrain;
  for (std::uintptr_t grain = access.address / kGlobalGrain; grain <= last; ++grain) {
    Cell& cell = global_cells(grain * kGlobalGrain / kPageBytes)[grain % (kPageBytes / kGlobalGrain)];
    if (cell.launch != launch_) cell = Cell{.launch = launch_, .write = {}, .read = {}};
    check(cell, now, access.type, access, 0);
  }
}

void RaceDetector::report(const char* what, const Touch& earlier, const Touch& now, const Access& access,
                          std::size_t shared_offset) {
  const std::uint64_t pair = std::uint64_t{earlier.pc} << 32 | now.pc;
  if (!reported_.try_emplace(pair, true).second || reports_.size() >= kMostReports) return;
  const auto who = [&](const Touch& t) {
    return "thread " + std::to_string(t.thread) + " of block " + std::to_string(t.block) + " at " + source_line(pcs_[t.pc]);
  };
  std::string text = std::string(what) + ", ";
  text += access.space == Space::kShared ? "shared byte " + std::to_string(shared_offset) : std::string("global memory");
  text += earlier.pc == 0 ? ": " + who(now) : ": " + who(earlier) + " and " + who(now) + ", nothing orders them";
  reports_.push_back(std::move(text));
}

std::vector<std::string> RaceDetector::take_reports() {
  return std::exchange(reports_, {});
}

}  // namespace galrec::simt
