#pragma once
// What AddressSanitizer must be told about memory and stacks that it did not make. Nothing without it.

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define GALREC_SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GALREC_SIMT_ASAN 1
#endif
#endif

#if defined(GALREC_SIMT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace galrec::simt {

#if defined(GALREC_SIMT_ASAN)
inline constexpr bool kAddressSanitizer = true;
inline void start_switch(void** keep, const void* stack, std::size_t bytes) { __sanitizer_start_switch_fiber(keep, stack, bytes); }
inline void finish_switch(void* kept) { __sanitizer_finish_switch_fiber(kept, nullptr, nullptr); }
inline void unpoison(const void* p, std::size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
inline constexpr bool kAddressSanitizer = false;
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*) {}
inline void unpoison(const void*, std::size_t) {}
#endif

}  // namespace galrec::simt
