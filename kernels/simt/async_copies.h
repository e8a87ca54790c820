#pragma once
// One thread's cp.async: performed as late as its waits allow, with the destination poisoned meanwhile, so that who reads
// before the wait, or without a barrier behind it, reads NaN.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/common/place.h"

namespace galrec::simt {

struct Lane;

struct AsyncCopy {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  int bytes = 0;
  int valid = 0;
  Place where{};
};

struct AsyncCopies {
  std::vector<AsyncCopy> queue;         // oldest first
  std::vector<std::size_t> group_ends;  // of closed groups, as positions in the queue
  std::size_t performed = 0;            // copies at the front of the queue
  std::size_t waited = 0;               // groups at the front of group_ends

  void begin(const AsyncCopy& copy);
  void close_group() { group_ends.push_back(queue.size()); }
  /// Performs the oldest groups until `left` closed ones remain.
  void wait(std::size_t left, const Lane& lane);
  bool idle() const { return performed == queue.size(); }
  void clear();
};

}  // namespace galrec::simt
