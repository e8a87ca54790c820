// What the compiler calls before every load and store of a file compiled with -fsanitize=thread. The instrumented build
// compiles the kernels so, but links this file instead of ThreadSanitizer's runtime: CUDA threads are fibers here, and
// happens-before is what barriers of a block say, not what the operating system's threads do.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/simt/instrument/access.h"
#include "kernels/simt/instrument/instrument.h"

using galrec::simt::AccessType;
using galrec::simt::observe_access;

// The caller's address is the place after the call, which is where the access itself stands.
#define GALREC_HERE __builtin_return_address(0)

#define GALREC_TSAN_ACCESS(prefix, bytes)                      \
  void __tsan_##prefix##read##bytes(void* p) {                 \
    observe_access(p, bytes, AccessType::kRead, GALREC_HERE);  \
  }                                                            \
  void __tsan_##prefix##write##bytes(void* p) {                \
    observe_access(p, bytes, AccessType::kWrite, GALREC_HERE); \
  }

#define GALREC_TSAN_ACCESSES(bytes)                            \
  GALREC_TSAN_ACCESS(, bytes)                                  \
  GALREC_TSAN_ACCESS(unaligned_, bytes)                        \
  GALREC_TSAN_ACCESS(volatile_, bytes)                         \
  void __tsan_read_write##bytes(void* p) {                     \
    observe_access(p, bytes, AccessType::kRead, GALREC_HERE);  \
    observe_access(p, bytes, AccessType::kWrite, GALREC_HERE); \
  }

// Performed for real; they race with plain accesses only.
#define GALREC_TSAN_FETCH(bits, type, operation)                                      \
  type __tsan_atomic##bits##_fetch_##operation(volatile type* p, type v, int) {       \
    observe_access(const_cast<type*>(p), bits / 8, AccessType::kAtomic, GALREC_HERE); \
    return __atomic_fetch_##operation(p, v, __ATOMIC_SEQ_CST);                        \
  }

#define GALREC_TSAN_ATOMICS(bits, type)                                                                   \
  type __tsan_atomic##bits##_load(const volatile type* p, int) {                                          \
    observe_access(const_cast<type*>(p), bits / 8, AccessType::kAtomic, GALREC_HERE);                     \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                       \
  void __tsan_atomic##bits##_store(volatile type* p, type v, int) {                                       \
    observe_access(const_cast<type*>(p), bits / 8, AccessType::kAtomic, GALREC_HERE);                     \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                             \
  }                                                                                                       \
  type __tsan_atomic##bits##_exchange(volatile type* p, type v, int) {                                    \
    observe_access(const_cast<type*>(p), bits / 8, AccessType::kAtomic, GALREC_HERE);                     \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                       \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type v, int, int) { \
    observe_access(const_cast<type*>(p), bits / 8, AccessType::kAtomic, GALREC_HERE);                     \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
  }                                                                                                       \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* expected, type v, int, int) {   \
    observe_access(const_cast<type*>(p), bits / 8, AccessType::kAtomic, GALREC_HERE);                     \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
  }                                                                                                       \
  GALREC_TSAN_FETCH(bits, type, add)                                                                      \
  GALREC_TSAN_FETCH(bits, type, sub)                                                                      \
  GALREC_TSAN_FETCH(bits, type, and)                                                                      \
  GALREC_TSAN_FETCH(bits, type, or)                                                                       \
  GALREC_TSAN_FETCH(bits, type, xor)

extern "C" {
GALREC_TSAN_ACCESSES(1)
GALREC_TSAN_ACCESSES(2)
GALREC_TSAN_ACCESSES(4)
GALREC_TSAN_ACCESSES(8)
GALREC_TSAN_ACCESSES(16)
void __tsan_read_range(void* p, std::size_t bytes) {
  observe_access(p, static_cast<std::uint32_t>(bytes), AccessType::kRead, GALREC_HERE);
}
void __tsan_write_range(void* p, std::size_t bytes) {
  observe_access(p, static_cast<std::uint32_t>(bytes), AccessType::kWrite, GALREC_HERE);
}
GALREC_TSAN_ATOMICS(8, unsigned char)
GALREC_TSAN_ATOMICS(16, unsigned short)
GALREC_TSAN_ATOMICS(32, unsigned)
GALREC_TSAN_ATOMICS(64, unsigned long)
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  observe_access(const_cast<void*>(from), static_cast<std::uint32_t>(bytes), AccessType::kRead, GALREC_HERE);
  observe_access(to, static_cast<std::uint32_t>(bytes), AccessType::kWrite, GALREC_HERE);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  observe_access(const_cast<void*>(from), static_cast<std::uint32_t>(bytes), AccessType::kRead, GALREC_HERE);
  observe_access(to, static_cast<std::uint32_t>(bytes), AccessType::kWrite, GALREC_HERE);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  observe_access(to, static_cast<std::uint32_t>(bytes), AccessType::kWrite, GALREC_HERE);
  return std::memset(to, value, bytes);
}
}
