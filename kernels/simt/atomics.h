#pragma once
// Atomics on integers. There are none on floats: the order of additions would show in the bits.

#include <atomic>
#include <type_traits>

namespace galrec::simt {

template <class T>
concept AtomicInteger = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

/// *p = f(*p) in one piece; the old value.
template <AtomicInteger T, class F>
T atomic_update(T* p, F f) {
  std::atomic_ref<T> cell(*p);
  T old = cell.load(std::memory_order_relaxed);
  while (!cell.compare_exchange_weak(old, f(old), std::memory_order_relaxed)) {
  }
  return old;
}

}  // namespace galrec::simt

template <galrec::simt::AtomicInteger T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_add(value, std::memory_order_relaxed);
}
template <galrec::simt::AtomicInteger T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  return galrec::simt::atomic_update(p, [value](T old) { return value < old ? value : old; });
}
template <galrec::simt::AtomicInteger T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  return galrec::simt::atomic_update(p, [value](T old) { return old < value ? value : old; });
}
template <galrec::simt::AtomicInteger T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_and(value, std::memory_order_relaxed);
}
template <galrec::simt::AtomicInteger T>
T atomicOr(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_or(value, std::memory_order_relaxed);
}
template <galrec::simt::AtomicInteger T>
T atomicXor(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_xor(value, std::memory_order_relaxed);
}
template <galrec::simt::AtomicInteger T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).exchange(value, std::memory_order_relaxed);
}
template <galrec::simt::AtomicInteger T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  std::atomic_ref<T>(*p).compare_exchange_strong(expected, desired, std::memory_order_relaxed);
  return expected;
}

inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_thread_fence(std::memory_order_seq_cst); }
