#pragma once
// Running a grid: blocks are handed to OS threads, each of which runs one block at a time.

#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/place.h"
#include "kernels/simt/vector_types.h"

struct CUstream_st;

namespace galrec::simt {

/// One launch, for the grid runner and for observers.
struct Launch {
  const void* kernel = nullptr;  // the function's address; name_of_kernel() turns it into a name
  Place where{};                 // the call of launch()
  dim3 grid{};
  dim3 block{};
  std::size_t shared_bytes = 0;
  void (*body)(void*) = nullptr;  // calls the kernel with its arguments, once per CUDA thread
  void* arguments = nullptr;
};

/// Runs all blocks and returns. Rethrows the first error of any block, with the kernel's name in front.
void run_grid(const Launch& launch);

/// What run_grid() would say of a launch that no device takes.
void check_launch(const Launch& launch);

/// Whether streams are deferred (Schedule::streams).
bool streams_are_deferred();
/// Whether what the stream is given is not done at once: streams are deferred, or it is capturing.
bool postpones(const CUstream_st* stream);
/// Work of a deferred stream, done when somebody waits for it.
void enqueue(CUstream_st* stream, std::function<void()> work);
/// A launch of a stream that postpones: what check_launch() says of it now, the rest later. `arguments` is a copy of
/// what launch.arguments points to, `bytes` what append_argument() makes of them.
void postpone(CUstream_st* stream, const Launch& launch, std::shared_ptr<void> arguments, std::vector<std::byte> bytes);

#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define GALREC_SIMT_CLEARS_PADDING
#endif
#endif
/// The bytes of an argument, from a multiple of 8 on. What lies between the members of a struct is zero where the
/// compiler can tell (GALREC_SIMT_CLEARS_PADDING), and accidental elsewhere.
template <class T>
void append_argument(std::vector<std::byte>& bytes, T argument) {
#if defined(GALREC_SIMT_CLEARS_PADDING)
  __builtin_clear_padding(&argument);
#endif
  const std::size_t at = (bytes.size() + 7) / 8 * 8;
  bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, static_cast<const void*>(&argument), sizeof(T));
}

/// The demangled name from the program's symbol table, or the address where the table was stripped.
std::string name_of_kernel(const void* kernel);

}  // namespace galrec::simt
