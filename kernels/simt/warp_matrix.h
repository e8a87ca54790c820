#pragma once
// What kernels/common/mma.h calls on the executor: the warp's matrix instructions, asynchronous copies, shared memory.

#include <cstddef>
#include <cstdint>

#include "kernels/common/place.h"

namespace galrec::simt {

/// What one 16-byte instruction moves. A vector type, so that the compiler does not take the access apart.
using Words16 [[gnu::vector_size(16), gnu::may_alias]] = std::uint32_t;
using Words8 [[gnu::vector_size(8), gnu::may_alias]] = std::uint32_t;

void mma_m16n8k16_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, Place where);
void mma_m16n8k8_tf32(float* d, const std::uint32_t* a, const std::uint32_t* b, Place where);
enum class MatrixLoad { kRow, kTransposed };
void ldmatrix(std::uint32_t* r, int matrices, MatrixLoad order, const void* row, Place where);

void cp_async(void* shared, const void* global, int bytes, int valid_bytes, Place where);
void cp_async_commit();
void cp_async_wait(int groups_left);

/// The block's dynamic shared memory. Error if the launch gave less than `needed` bytes.
void* block_shared_memory(std::size_t needed, Place where);
/// Error if `p` is not a multiple of `bytes`.
[[noreturn]] void fail_alignment(const void* p, std::size_t bytes, const char* what, Place where);
inline void check_aligned(const void* p, std::size_t bytes, const char* what, Place where) {
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0) [[unlikely]] fail_alignment(p, bytes, what, where);
}

}  // namespace galrec::simt
