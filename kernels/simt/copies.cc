// Memory, copies and memsets of the runtime. On a deferred stream they are done when somebody waits, by the rules of the CUDA
// documentation: pageable memory is read before the call returns and written before it returns, pinned memory later.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/simt/device_memory.h"
#include "kernels/simt/grid.h"
#include "kernels/simt/streams.h"

namespace {

using galrec::simt::result;

bool on_device(const void* p, std::size_t bytes) { return galrec::simt::find_allocation(p, bytes).begin != nullptr; }
bool touches_device(const void* p) { return galrec::simt::find_allocation(p, 1).begin != nullptr; }

/// Device sides must lie within one allocation, host sides in none: hardware says the same, if it notices.
bool sides_are_right(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !touches_device(to) && !touches_device(from);
    case cudaMemcpyHostToDevice: return on_device(to, bytes) && !touches_device(from);
    case cudaMemcpyDeviceToHost: return !touches_device(to) && on_device(from, bytes);
    case cudaMemcpyDeviceToDevice: return on_device(to, bytes) && on_device(from, bytes);
    case cudaMemcpyDefault:
      return (!touches_device(to) || on_device(to, bytes)) && (!touches_device(from) || on_device(from, bytes));
  }
  return false;
}


class Pinned {
 public:
  static Pinned& shared() {
    static Pinned* pinned = new Pinned;
    return *pinned;
  }
  void add(const void* p, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    blocks_[static_cast<const std::byte*>(p)] = bytes;
  }
  bool remove(const void* p) {
    const std::lock_guard lock(mutex_);
    return blocks_.erase(static_cast<const std::byte*>(p)) > 0;
  }
  bool holds(const void* p) {
    const std::lock_guard lock(mutex_);
    auto after = blocks_.upper_bound(static_cast<const std::byte*>(p));
    if (after == blocks_.begin()) return false;
    --after;
    return static_cast<const std::byte*>(p) < after->first + after->second;
  }

 private:
  std::mutex mutex_;
  std::map<const std::byte*, std::size_t> blocks_;
};

void copy_now(void* to, const void* from, std::size_t bytes) {
  const galrec::simt::DeviceAccess access;
  std::memcpy(to, from, bytes);
}

}  // namespace

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  *pointer = galrec::simt::allocate_device(bytes);
  return result(*pointer != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  if (galrec::simt::find_allocation(pointer).begin != pointer) return result(cudaErrorInvalidValue);
  const cudaError_t error = galrec::simt::drain_all();  // as the device does
  galrec::simt::free_device(pointer);
  return error;
}
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (posix_memalign(pointer, 256, std::max<std::size_t>(bytes, 1)) != 0) return result(cudaErrorMemoryAllocation);
  Pinned::shared().add(*pointer, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  if (!Pinned::shared().remove(pointer)) return result(cudaErrorInvalidValue);
  const cudaError_t error = galrec::simt::drain_all();
  std::free(pointer);
  return error;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (!sides_are_right(to, from, bytes, kind)) return result(cudaErrorInvalidValue);
  copy_now(to, from, bytes);  // of the default stream, which does not wait for non-blocking ones
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (stream == nullptr || !galrec::simt::streams_are_deferred()) return cudaMemcpy(to, from, bytes, kind);
  if (bytes == 0) return cudaSuccess;
  if (!sides_are_right(to, from, bytes, kind)) return result(cudaErrorInvalidValue);
  if (!touches_device(to) && !Pinned::shared().holds(to)) {
    const cudaError_t error = galrec::simt::drain(stream);
    if (error == cudaSuccess) copy_now(to, from, bytes);
    return error;
  }
  if (!touches_device(to)) std::memset(to, 0xff, bytes);  // who reads before the wait reads poison
  if (touches_device(from) || Pinned::shared().holds(from)) {
    galrec::simt::enqueue(stream, [=] { copy_now(to, from, bytes); });
  } else {
    const auto* first = static_cast<const std::byte*>(from);
    galrec::simt::enqueue(stream, [to, staged = std::vector<std::byte>(first, first + bytes)] {
      copy_now(to, staged.data(), staged.size());
    });
  }
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (!on_device(to, bytes)) return result(cudaErrorInvalidValue);
  const galrec::simt::DeviceAccess access;
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (stream == nullptr || !galrec::simt::streams_are_deferred()) return cudaMemset(to, value, bytes);
  if (bytes > 0 && !on_device(to, bytes)) return result(cudaErrorInvalidValue);
  galrec::simt::enqueue(stream, [=] { cudaMemset(to, value, bytes); });
  return cudaSuccess;
}
