#pragma once
// Owning memory: Buffer (one aligned block) and Arena (a stack of scratch that allocates nothing once it has grown).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/memory.h"
#include "kernels/common/view.h"

namespace galrec {

/// Move-only block of T in the memory of a resource (which must outlive it), aligned to kAlignment, not initialised unless asked.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(std::int64_t count, MemoryResource& memory = host_memory()) : data_(nullptr, Release{&memory}), count_(count) {
    GALREC_CHECK(count >= 0);
    if (count > 0) data_.reset(static_cast<T*>(memory.allocate(static_cast<std::size_t>(count) * sizeof(T))));
  }
  /// Host memory full of `value`.
  Buffer(std::int64_t count, T value) : Buffer(count) { std::uninitialized_fill_n(data_.get(), count, value); }
  /// A copy of host values in the memory of `memory`.
  Buffer(std::span<const T> values, MemoryResource& memory) : Buffer(static_cast<std::int64_t>(values.size()), memory) {
    if (!values.empty()) memory.upload(data(), values.data(), values.size_bytes());
  }
  static Buffer zeros(std::int64_t count, MemoryResource& memory) {
    Buffer buffer(count, memory);
    if (count > 0) memory.clear(buffer.data(), static_cast<std::size_t>(count) * sizeof(T));
    return buffer;
  }

  MemoryResource& memory() const { return *data_.get_deleter().memory; }
  T* data() const { return data_.get(); }
  std::int64_t size() const { return count_; }
  T& operator[](std::int64_t i) const { return data_.get()[i]; }
  T* begin() const { return data(); }
  T* end() const { return data() + count_; }
  View<T, 1> view() const { return View<T, 1>(data(), {count_}); }
  View<T, 2> view(std::int64_t rows, std::int64_t cols) const {
    GALREC_CHECK(rows * cols <= count_, "({}, {}) of {} elements", rows, cols, count_);
    return View<T, 2>(data(), {rows, cols});
  }

 private:
  struct Release {
    MemoryResource* memory = &host_memory();
    void operator()(T* p) const { memory->release(p); }
  };
  std::unique_ptr<T, Release> data_;
  std::int64_t count_ = 0;
};

/// Bump allocator. Blocks are handed out until reset() or a rewind(); growth happens in extra chunks that the next
/// reset() merges into one, so that a repeated workload allocates from the system only the first time.
class Arena {
 public:
  explicit Arena(MemoryResource& memory = host_memory()) : memory_(&memory) {}
  MemoryResource& memory() const { return *memory_; }

  struct Mark {
    std::size_t chunk = 0;
    std::size_t used = 0;
  };

  template <class T>
  T* alloc(std::int64_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<T*>(alloc_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }
  template <class T>
  View<T, 1> vector(std::int64_t n) {
    return View<T, 1>(alloc<T>(n), {n});
  }
  template <class T>
  View<T, 2> matrix(std::int64_t rows, std::int64_t cols) {
    return View<T, 2>(alloc<T>(rows * cols), {rows, cols});
  }

  Mark mark() const { return mark_; }
  void rewind(Mark m) { mark_ = m; }
  void reset();

  /// System allocations so far: constant once the workload has been seen.
  std::int64_t system_allocations() const { return system_allocations_; }
  /// Largest number of bytes ever held from the system.
  std::size_t peak_bytes() const { return peak_bytes_; }

 private:
  void* alloc_bytes(std::size_t bytes);

  MemoryResource* memory_;
  std::vector<Buffer<std::byte>> chunks_;
  Mark mark_;
  std::int64_t system_allocations_ = 0;
  std::size_t peak_bytes_ = 0;
};

/// Gives an arena's blocks back at the end of a scope.
class ScratchScope {
 public:
  explicit ScratchScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ScratchScope() { arena_.rewind(mark_); }
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;

  Arena& operator*() const { return arena_; }
  Arena* operator->() const { return &arena_; }

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace galrec
