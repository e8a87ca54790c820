#include "kernels/simt/instrument/race_detector.h"

#include <algorithm>
#include <utility>

#include "kernels/simt/instrument/sites.h"

namespace galrec::simt {

void RaceDetector::begin_block(std::size_t shared_bytes) {
  ++blocks_;
  if (shared_.bytes() != shared_bytes) shared_.resize(shared_bytes);
}

std::uint32_t RaceDetector::number_of(const void* pc) {
  auto& recent = recent_pcs_[reinterpret_cast<std::uintptr_t>(pc) % kCached];
  if (recent.first != pc || recent.second == 0) {
    const auto [at, added] = pc_numbers_.try_emplace(pc, static_cast<std::uint32_t>(pcs_.size()));
    if (added) pcs_.push_back(pc);
    recent = {pc, at->second};
  }
  return recent.second;
}

ShadowMemory<RaceDetector::Cell>& RaceDetector::page_of(std::uintptr_t address) {
  const std::uintptr_t page = address / kPageBytes;
  auto& recent = recent_pages_[page % kCached];
  if (recent.second == nullptr || recent.first != page) {
    // References into an unordered_map stay valid as it grows.
    recent = {page, &pages_.try_emplace(page, kPageBytes).first->second};
  }
  return *recent.second;
}

bool RaceDetector::ordered(const Touch& earlier, const Touch& now) const {
  if (earlier.pc == 0) return true;
  if (earlier.block != now.block) return false;
  if (earlier.thread == now.thread || earlier.block_epoch != now.block_epoch) return true;
  return earlier.thread / 32 == now.thread / 32 && earlier.warp_epoch != now.warp_epoch;
}

void RaceDetector::check(Cell& cell, const Touch& now, AccessType type, const Access& access,
                         std::size_t shared_offset) {
  const auto races = [&](const Touch& earlier) { return !ordered(earlier, now) && !(earlier.atomic && now.atomic); };
  if (races(cell.write))
    report(type == AccessType::kRead ? "read after write" : "two writes", cell.write, now, access, shared_offset);
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
  const auto visit = [&](Cell& cell, std::uint32_t era, std::size_t shared_offset) {
    if (cell.era != era) cell = Cell{.era = era, .write = {}, .read = {}};
    if (access.space == Space::kShared && access.type == AccessType::kRead && cell.write.pc == 0) {
      report("read of shared memory that nobody wrote", Touch{}, now, access, shared_offset);
      return;
    }
    check(cell, now, access.type, access, shared_offset);
  };
  if (access.space == Space::kShared) {
    const std::size_t first = access.address - reinterpret_cast<std::uintptr_t>(lane.block->shared);
    const std::size_t count = std::min<std::size_t>(access.bytes, shared_.bytes() - first);
    shared_.for_cells(first, count, [&](Cell& cell, std::size_t at) { visit(cell, blocks_, at); });
    return;
  }
  for (std::uintptr_t at = access.address; at < access.address + access.bytes;) {
    const std::uintptr_t end = std::min((at / kPageBytes + 1) * kPageBytes, access.address + access.bytes);
    page_of(at).for_cells(at % kPageBytes, end - at, [&](Cell& cell, std::size_t) { visit(cell, launch_, 0); });
    at = end;
  }
}

void RaceDetector::report(const char* what, const Touch& earlier, const Touch& now, const Access& access,
                          std::size_t shared_offset) {
  const std::uint64_t pair = std::uint64_t{earlier.pc} << 32 | now.pc;
  if (!reported_.try_emplace(pair, true).second || reports_.size() >= kMostReports) return;
  const auto who = [&](const Touch& t) {
    return "thread " + std::to_string(t.thread) + " of block " + std::to_string(t.block) + " at " +
           source_line(pcs_[t.pc]);
  };
  std::string text = std::string(what) + ", ";
  text +=
      access.space == Space::kShared ? "shared byte " + std::to_string(shared_offset) : std::string("global memory");
  text += earlier.pc == 0 ? ": " + who(now) : ": " + who(earlier) + " and " + who(now) + ", nothing orders them";
  reports_.push_back(std::move(text));
}

std::vector<std::string> RaceDetector::take_reports() {
  return std::exchange(reports_, {});
}

}  // namespace galrec::simt
