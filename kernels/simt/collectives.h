#pragma once
// Barriers, shuffles, votes, matches and reductions. Each names the place of its call: lanes that meet must meet at one.

#include <bit>
#include <cstdint>
#include <string>
#include <type_traits>

#include "kernels/common/place.h"
#include "kernels/simt/lane.h"

namespace galrec::simt {

/// The running lane waits until all lanes of `mask` are at this very operation; the last one runs `combine` over what they
/// brought. Error for a lane that has exited, waits elsewhere or names another mask.
void collective(const char* name, unsigned mask, void* argument, Combine combine, Place where);

enum class BarrierKind { kPlain, kCount, kAnd, kOr };
/// The running lane waits for its block. Returns the count, conjunction or disjunction of the predicates.
int block_barrier(const char* name, BarrierKind kind, int predicate, Place where);

/// Waits for the lanes of `mask`; the only warp operation that also orders memory accesses.
void sync_warp(unsigned mask, Place where);

template <class T>
T& argument_of(const Warp& warp, int lane) {
  return *static_cast<T*>(warp.lanes[lane].argument);
}

/// Calls f(lane) for each lane of `mask`, in ascending order.
template <class F>
void for_lanes(unsigned mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(std::countr_zero(mask));
}

template <class T>
concept Shuffled = std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8) && std::is_arithmetic_v<T>;

template <class T>
struct ShuffleArgument {
  T value, result;
  int source;
};

/// Every lane receives the value of lane `source`, which must take part.
template <Shuffled T>
T shuffle(const char* name, unsigned mask, T value, int source, Place where) {
  ShuffleArgument<T> mine{value, value, source};
  collective(
      name, mask, &mine,
      [](Warp& warp, unsigned m, Place at) {
        for_lanes(m, [&](int lane) {
          auto& to = argument_of<ShuffleArgument<T>>(warp, lane);
          if ((m >> to.source & 1u) == 0) {
            fail("lane " + std::to_string(lane) + " reads lane " + std::to_string(to.source) + ", which does not take part",
                 at);
          }
          to.result = argument_of<ShuffleArgument<T>>(warp, to.source).value;
        });
      },
      where);
  return mine.result;
}

/// Bit i: whether lane i of `mask` brought a predicate other than 0.
unsigned vote(const char* name, unsigned mask, int predicate, Place where);
/// The lanes of `mask` that brought the same 64 bits.
unsigned match(const char* name, unsigned mask, std::uint64_t value, Place where);

template <class T>
struct ReduceArgument {
  T value, result;
};

/// All lanes of `mask` receive f over their values, from the lowest lane up.
template <class T, class F>
T reduce(const char* name, unsigned mask, T value, F, Place where) {
  ReduceArgument<T> mine{value, value};
  collective(
      name, mask, &mine,
      [](Warp& warp, unsigned m, Place) {
        const int first = std::countr_zero(m);
        T total = argument_of<ReduceArgument<T>>(warp, first).value;
        for_lanes(m & (m - 1), [&](int lane) { total = F{}(total, argument_of<ReduceArgument<T>>(warp, lane).value); });
        for_lanes(m, [&](int lane) { argument_of<ReduceArgument<T>>(warp, lane).result = total; });
      },
      where);
  return mine.result;
}

inline int lane_index() { return static_cast<int>(running_lane->lane); }
/// Error unless `width` is a power of two up to 32.
[[noreturn]] void fail_width(int width, Place where);
inline void check_width(int width, Place where) {
  if (width <= 0 || width > 32 || (width & (width - 1)) != 0) [[unlikely]] fail_width(width, where);
}

}  // namespace galrec::simt

inline void __syncthreads(galrec::Place where = galrec::Place::here()) {
  galrec::simt::block_barrier("__syncthreads", galrec::simt::BarrierKind::kPlain, 0, where);
}
inline int __syncthreads_count(int predicate, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::block_barrier("__syncthreads_count", galrec::simt::BarrierKind::kCount, predicate, where);
}
inline int __syncthreads_and(int predicate, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::block_barrier("__syncthreads_and", galrec::simt::BarrierKind::kAnd, predicate, where);
}
inline int __syncthreads_or(int predicate, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::block_barrier("__syncthreads_or", galrec::simt::BarrierKind::kOr, predicate, where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, galrec::Place where = galrec::Place::here()) {
  galrec::simt::sync_warp(mask, where);
}
/// The lanes that surely run together with this one: itself. Hardware may answer more; code must not need it.
inline unsigned __activemask() { return 1u << galrec::simt::running_lane->lane; }

template <galrec::simt::Shuffled T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, galrec::Place where = galrec::Place::here()) {
  galrec::simt::check_width(width, where);
  const int lane = galrec::simt::lane_index();
  return galrec::simt::shuffle("__shfl_sync", mask, value, (lane & ~(width - 1)) | (source & (width - 1)), where);
}
template <galrec::simt::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, galrec::Place where = galrec::Place::here()) {
  galrec::simt::check_width(width, where);
  const int lane = galrec::simt::lane_index(), by = static_cast<int>(delta);
  return galrec::simt::shuffle("__shfl_up_sync", mask, value, (lane & (width - 1)) >= by ? lane - by : lane, where);
}
template <galrec::simt::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, galrec::Place where = galrec::Place::here()) {
  galrec::simt::check_width(width, where);
  const int lane = galrec::simt::lane_index(), by = static_cast<int>(delta);
  return galrec::simt::shuffle("__shfl_down_sync", mask, value, (lane & (width - 1)) + by < width ? lane + by : lane, where);
}
template <galrec::simt::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, galrec::Place where = galrec::Place::here()) {
  galrec::simt::check_width(width, where);
  const int lane = galrec::simt::lane_index(), source = lane ^ lane_mask;
  return galrec::simt::shuffle("__shfl_xor_sync", mask, value, source / width > lane / width ? lane : source, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::vote("__ballot_sync", mask, predicate, where);
}
inline int __any_sync(unsigned mask, int predicate, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::vote("__any_sync", mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::vote("__all_sync", mask, predicate == 0, where) == 0;
}
template <galrec::simt::Shuffled T>
unsigned __match_any_sync(unsigned mask, T value, galrec::Place where = galrec::Place::here()) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  return galrec::simt::match("__match_any_sync", mask, std::bit_cast<Bits>(value), where);
}

namespace galrec::simt {
template <class T>
concept Reduced = std::is_same_v<T, int> || std::is_same_v<T, unsigned>;
struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
struct Or {
  unsigned operator()(unsigned a, unsigned b) const { return a | b; }
};
struct And {
  unsigned operator()(unsigned a, unsigned b) const { return a & b; }
};
struct Xor {
  unsigned operator()(unsigned a, unsigned b) const { return a ^ b; }
};
}  // namespace galrec::simt

template <galrec::simt::Reduced T>
T __reduce_add_sync(unsigned mask, T value, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::reduce("__reduce_add_sync", mask, value, galrec::simt::Add{}, where);
}
template <galrec::simt::Reduced T>
T __reduce_min_sync(unsigned mask, T value, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::reduce("__reduce_min_sync", mask, value, galrec::simt::Min{}, where);
}
template <galrec::simt::Reduced T>
T __reduce_max_sync(unsigned mask, T value, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::reduce("__reduce_max_sync", mask, value, galrec::simt::Max{}, where);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::reduce("__reduce_or_sync", mask, value, galrec::simt::Or{}, where);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::reduce("__reduce_and_sync", mask, value, galrec::simt::And{}, where);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, galrec::Place where = galrec::Place::here()) {
  return galrec::simt::reduce("__reduce_xor_sync", mask, value, galrec::simt::Xor{}, where);
}
