#pragma once
// Running a grid: blocks are handed to OS threads, each of which runs one block at a time.

#include <cstddef>
#include <functional>
#include <string>

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
/// Work of a deferred stream, done when somebody waits for it.
void enqueue(CUstream_st* stream, std::function<void()> work);

/// The demangled name from the program's symbol table, or the address where the table was stripped.
std::string name_of_kernel(const void* kernel);

}  // namespace galrec::simt
