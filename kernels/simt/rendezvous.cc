// Where lanes meet: barriers of the block and operations of the warp, and what goes wrong when they do not.

#include <bit>

#include "kernels/common/check.h"
#include "kernels/simt/block_runner.h"
#include "kernels/simt/observer.h"

namespace galrec::simt {

namespace {

std::string at(const char* name, Place where) { return fmt::format("{} {}:{}", name, where.file, where.line); }

std::string lanes_of(unsigned mask) { return fmt::format("mask {:08x}", mask); }

}  // namespace

void fail(const std::string& what, Place where) {
  if (running_lane == nullptr) throw Error(fmt::format("{} at {}:{}, outside of a kernel", what, where.file, where.line));
  const uint3 b = running_lane->block->index, t = running_lane->thread;
  throw Error(fmt::format("{} at {}:{} in block ({},{},{}), thread ({},{},{})", what, where.file, where.line, b.x, b.y, b.z, t.x,
                          t.y, t.z));
}

void BlockRunner::collective(const char* name, unsigned mask, void* argument, Combine combine, Place where) {
  Lane& me = *running_lane;
  Warp& warp = *me.warp;
  const unsigned bit = 1u << me.lane;
  mask &= warp.exists;  // hardware ignores lanes that the block does not have
  me.argument = argument;
  // Nearly always this lane either comes first, or finds one operation pending, which is its own.
  PendingOperation& first = warp.pending[0];
  const bool expected = warp.pending_count == 1 && first.mask == mask && first.combine == combine && first.where == where &&
                        (mask & bit) != 0;
  PendingOperation& met = expected ? first : join(name, mask, combine, where);
  met.arrived |= bit;
  if (met.arrived != mask) return suspend();
  met = warp.pending[--warp.pending_count];
  combine(warp, mask, where);
  warp.ready |= mask & ~bit;
  if (Observer* o = observer()) o->warp_operation(warp, name, mask, where);
}

PendingOperation& BlockRunner::join(const char* name, unsigned mask, Combine combine, Place where) {
  Warp& warp = *running_lane->warp;
  if ((mask >> running_lane->lane & 1u) == 0) {
    fail(std::string(name) + ": the calling lane is not in its own " + lanes_of(mask), where);
  }
  for (unsigned i = 0; i < warp.pending_count; ++i) {
    PendingOperation& p = warp.pending[i];
    if ((p.mask & mask) == 0) continue;
    if (p.mask == mask && p.combine == combine && p.where == where) return p;
    fail_to_meet(p, name, mask, where);
  }
  if ((mask & (warp.exited | warp.at_barrier)) != 0) {
    fail_with_table(fmt::format("{}: lanes of {} have exited or wait at a block barrier", at(name, where), lanes_of(mask)));
  }
  PendingOperation& fresh = warp.pending[warp.pending_count++];
  fresh = {name, combine, mask, 0, where};
  return fresh;
}

void BlockRunner::fail_to_meet(const PendingOperation& other, const char* name, unsigned mask, Place where) const {
  fail_with_table(fmt::format("{} with {} while lanes of it wait at {} with {}", at(name, where), lanes_of(mask),
                              at(other.name, other.where), lanes_of(other.mask)));
}

int BlockRunner::barrier(const char* name, BarrierKind kind, int predicate, Place where) {
  Lane& me = *running_lane;
  expect_nobody_waits_for(me, name, where);
  me.barrier = name;
  me.barrier_place = where;
  if (barrier_.arrived == 0) {
    barrier_.name = name;
    barrier_.kind = kind;
    barrier_.where = where;
    barrier_.count = 0;
  }
  barrier_.mixed |= barrier_.kind != kind || !(barrier_.where == where);
  barrier_.count += predicate != 0;
  ++barrier_.arrived;
  me.warp->at_barrier |= 1u << me.lane;
  if (barrier_.arrived + exited_ == block_.threads) {
    if (barrier_.mixed) fail_with_table("threads of one block wait at different barriers");
    if (exited_ > 0) fail_with_table("barrier reached by only part of the block (the other threads have exited)");
    release_barrier(&me);
  } else {
    suspend();
  }
  return barrier_.result;
}

void BlockRunner::release_barrier(Lane* running) {
  const int all = static_cast<int>(block_.threads);
  barrier_.result = barrier_.kind == BarrierKind::kAnd  ? barrier_.count == all
                    : barrier_.kind == BarrierKind::kOr ? barrier_.count > 0
                                                        : barrier_.count;
  barrier_.arrived = 0;
  barrier_.mixed = false;
  ++block_.epoch;
  for (unsigned w = 0; w < block_.warps; ++w) {
    warps_[w].ready = warps_[w].at_barrier;
    warps_[w].at_barrier = 0;
    ready_warps_ |= 1u << w;
  }
  running->warp->ready &= ~(1u << running->lane);
  if (Observer* o = observer()) o->block_barrier(block_, barrier_.where);
}

void BlockRunner::expect_nobody_waits_for(const Lane& lane, const char* instead, Place where) const {
  for (unsigned i = 0; i < lane.warp->pending_count; ++i) {
    const PendingOperation& awaited = lane.warp->pending[i];
    if ((awaited.mask >> lane.lane & 1u) != 0) fail_to_come(awaited, lane, instead, where);
  }
}

void BlockRunner::fail_to_come(const PendingOperation& awaited, const Lane& lane, const char* instead, Place where) const {
  fail_with_table(fmt::format("lanes wait at {} ({}) for lane {}, which {}", at(awaited.name, awaited.where),
                              lanes_of(awaited.mask), lane.lane, where.line == 0 ? instead : "is at " + at(instead, where)));
}

void BlockRunner::fail_with_table(const std::string& what) const {
  const uint3 b = block_.index;
  throw Error(fmt::format("{} in block ({},{},{}){}", what, b.x, b.y, b.z, table()));
}

std::string BlockRunner::table() const {
  const auto state = [](const Warp& warp, unsigned l) -> std::string {
    const unsigned bit = 1u << l;
    const Lane& lane = warp.lanes[l];
    if ((warp.exited & bit) != 0) return "exited";
    if ((warp.at_barrier & bit) != 0) return "at " + at(lane.barrier, lane.barrier_place);
    for (unsigned i = 0; i < warp.pending_count; ++i) {
      const PendingOperation& p = warp.pending[i];
      if ((p.arrived & bit) != 0) return "at " + at(p.name, p.where) + " with " + lanes_of(p.mask);
    }
    if (&lane == running_lane) return "running";
    return lane.fiber == nullptr ? "not yet started" : "on its way";
  };
  std::string lines;
  for (unsigned w = 0; w < block_.warps; ++w) {
    const Warp& warp = warps_[w];
    const unsigned lanes = static_cast<unsigned>(std::popcount(warp.exists));
    for (unsigned first = 0; first < lanes;) {
      const std::string what = state(warp, first);
      unsigned last = first;
      while (last + 1 < lanes && state(warp, last + 1) == what) ++last;
      const std::string which = first == last ? fmt::format("lane {}", first) : fmt::format("lanes {}-{}", first, last);
      lines += fmt::format("\n  warp {} {}: {}", w, which, what);
      first = last + 1;
    }
  }
  return lines;
}

void collective(const char* name, unsigned mask, void* argument, Combine combine, Place where) {
  running_lane->block->runner->collective(name, mask, argument, combine, where);
}

int block_barrier(const char* name, BarrierKind kind, int predicate, Place where) {
  return running_lane->block->runner->barrier(name, kind, predicate, where);
}

}  // namespace galrec::simt
