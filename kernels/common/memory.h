#pragma once
// Where memory comes from and how bytes cross between it and the host. Buffers and arenas ask a MemoryResource, so that one
// type serves host and device; code that moves data names the crossing (upload, download) and is right on every backend.

#include <cstddef>
#include <cstdint>

namespace galrec {

inline constexpr std::size_t kAlignment = 64;  // a cache line, an AVX-512 vector, two sectors of a GPU's L2

/// Memory of one kind. Transfers are ordered with the kernels of the context that the resource belongs to.
class MemoryResource {
 public:
  virtual ~MemoryResource() = default;

  /// `bytes` > 0, aligned to kAlignment, not initialised. Throws std::bad_alloc.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* p) noexcept = 0;

  /// Host bytes to this memory. The source may change once this returns; the device may read later.
  virtual void upload(void* to, const void* from_host, std::size_t bytes) = 0;
  /// This memory to host bytes, after all work queued before. Returns when the bytes are there.
  virtual void download(void* to_host, const void* from, std::size_t bytes) = 0;
  /// Bytes within this memory; the ranges must not overlap.
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  /// Sets `bytes` bytes to 0.
  virtual void clear(void* to, std::size_t bytes) = 0;
  /// Whether host code may dereference its pointers.
  virtual bool host_accessible() const = 0;
  /// Blocks given back so far: while the number stands, every address that was valid still is. For whoever keeps addresses
  /// (a captured graph).
  virtual std::int64_t releases() const { return 0; }
};

/// The host's memory.
MemoryResource& host_memory();

}  // namespace galrec
