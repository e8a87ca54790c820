#include "kernels/simt/block_runner.h"

#include <algorithm>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/simt/observer.h"

namespace galrec::simt {

namespace {
constexpr unsigned kLanes = 32;
}  // namespace

BlockRunner& BlockRunner::of_this_thread() {
  thread_local BlockRunner runner;
  return runner;
}

void BlockRunner::prepare(const Launch& launch, const Schedule& schedule) {
  launch_ = launch;
  schedule_ = schedule;
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z, warps = (threads + kLanes - 1) / kLanes;
  shared_.resize(launch.shared_bytes);
  if (lanes_.size() < warps * kLanes) {
    lanes_.resize(warps * kLanes);
    warps_.resize(warps);
    copies_.resize(warps * kLanes);
  }
  const unsigned epoch = block_.epoch;
  block_ = {.dim = launch.block, .grid = launch.grid, .threads = threads, .warps = warps, .lanes = lanes_.data(),
            .warp = warps_.data(), .shared = shared_.data(), .shared_bytes = launch.shared_bytes, .epoch = epoch, .runner = this};
  for (unsigned w = 0; w < warps; ++w) {
    Warp& warp = warps_[w];
    const unsigned there = std::min(kLanes, threads - w * kLanes);
    warp.block = &block_;
    warp.lanes = &lanes_[w * kLanes];
    warp.index = w;
    warp.exists = there == kLanes ? 0xffffffffu : (1u << there) - 1;
    for (unsigned l = 0; l < there; ++l) {
      const unsigned i = w * kLanes + l;
      Lane& lane = lanes_[i];
      lane.thread = {i % launch.block.x, i / launch.block.x % launch.block.y, i / (launch.block.x * launch.block.y)};
      lane.linear = i;
      lane.lane = l;
      lane.warp = &warp;
      lane.block = &block_;
      lane.copies = &copies_[i];
      lane.warp_epoch = 0;
    }
  }
}

void BlockRunner::reset_block(std::uint64_t linear_index) {
  const dim3 grid = block_.grid;
  const std::uint64_t plane = linear_index / grid.x;
  block_.index = {static_cast<unsigned>(linear_index % grid.x), static_cast<unsigned>(plane % grid.y),
                  static_cast<unsigned>(plane / grid.y)};
  block_.linear_index = linear_index;
  ++block_.epoch;
  shared_.poison();
  generator_ = OrderGenerator(schedule_.seed * 0x2545f4914f6cdd1du + linear_index);
  for (unsigned w = 0; w < block_.warps; ++w) {
    Warp& warp = warps_[w];
    warp.ready = warp.exists;
    warp.at_barrier = warp.exited = warp.pending_count = 0;
  }
  ready_warps_ = block_.warps == kLanes ? 0xffffffffu : (1u << block_.warps) - 1;
  exited_ = 0;
  barrier_ = {};
}

void BlockRunner::run(std::uint64_t linear_index) {
  reset_block(linear_index);
  if (Observer* o = observer()) o->block_begins(block_);
  while (ready_warps_ != 0) {
    Warp& warp = warps_[pick(ready_warps_, schedule_.lanes, generator_)];
    if (Lane* lane = next_of(warp)) Fiber::switch_to(scheduler_, enter(*lane));
    running_lane = nullptr;
    if (error_) {
      abandon();
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
    if (warp.ready == 0) ready_warps_ &= ~(1u << warp.index);
  }
  if (exited_ < block_.threads) {
    const bool barrier = barrier_.arrived + exited_ == block_.threads;
    try {
      fail_with_table(barrier ? "barrier reached by only part of the block (the other threads have exited)" : "deadlock");
    } catch (...) {
      abandon();
      throw;
    }
  }
  if (!shared_.intact()) {
    throw Error(fmt::format("shared memory overrun: bytes behind the {} of the launch were written in block ({},{},{})",
                            shared_.size(), block_.index.x, block_.index.y, block_.index.z));
  }
  if (Observer* o = observer()) o->block_ends(block_);
}

Lane* BlockRunner::next_of(Warp& warp) {
  if (warp.ready == 0) return nullptr;
  const unsigned lane = pick(warp.ready, schedule_.lanes, generator_);
  warp.ready &= ~(1u << lane);
  return &warp.lanes[lane];
}

Fiber& BlockRunner::enter(Lane& lane) {
  running_lane = &lane;
  if (lane.fiber == nullptr) {
    if (free_fibers_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(&BlockRunner::fiber_main, static_cast<unsigned>(fibers_.size()) * 7));
      free_fibers_.push_back(fibers_.back().get());
    }
    lane.fiber = free_fibers_.back();
    free_fibers_.pop_back();
  }
  return *lane.fiber;
}

void BlockRunner::suspend() {
  Lane& me = *running_lane;
  Fiber& mine = *me.fiber;
  Lane* next = next_of(*me.warp);
  Fiber::switch_to(mine, next != nullptr ? enter(*next) : scheduler_);
}

// A fiber serves one lane after the other: as long as lanes end without having waited, no stack is changed at all.
void BlockRunner::fiber_main() {
  running_lane->fiber->started();
  for (;;) {
    Lane& lane = *running_lane;
    BlockRunner& runner = *lane.block->runner;
    Warp& warp = *lane.warp;
    Fiber& mine = *lane.fiber;
    runner.run_body(lane);
    lane.fiber = nullptr;
    Lane* next = runner.error_ ? nullptr : runner.next_of(warp);
    if (next != nullptr && next->fiber == nullptr) {
      next->fiber = &mine;
      running_lane = next;
      continue;
    }
    runner.free_fibers_.push_back(&mine);
    Fiber::switch_to(mine, next != nullptr ? runner.enter(*next) : runner.scheduler_);
  }
}

void BlockRunner::run_body(Lane& lane) {
  try {
    launch_.body(launch_.arguments);
    if (!lane.copies->idle()) {
      fail("the thread exits with cp.async copies that were never waited for", lane.copies->queue[lane.copies->performed].where);
    }
    lane.copies->clear();
    expect_nobody_waits_for(lane, "exits", {});
    if (Observer* o = observer()) o->lane_ends(lane);
  } catch (...) {
    if (!error_) error_ = std::current_exception();
  }
  lane.warp->exited |= 1u << lane.lane;
  ++exited_;
}

void BlockRunner::abandon() {
  for (unsigned i = 0; i < block_.threads; ++i) {
    Lane& lane = lanes_[i];
    if (lane.fiber != nullptr) {
      lane.fiber->restart();
      free_fibers_.push_back(lane.fiber);
      lane.fiber = nullptr;
    }
    lane.copies->clear();
  }
}

void BlockRunner::stop(const std::string& message) {
  if (!error_) error_ = std::make_exception_ptr(Error(message));
  Fiber::switch_to(*running_lane->fiber, scheduler_);
  __builtin_unreachable();
}

}  // namespace galrec::simt
