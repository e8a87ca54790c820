// Memory, copies and memsets of the runtime. On a deferred stream they are done when somebody waits, by the rules of the CUDA
// documentation: pageable memory is read before the call returns and written before it returns, pinned memory later.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <type_traits>
#include <vector>

#include "kernels/simt/device_memory.h"
#include "kernels/simt/grid.h"
#include "kernels/simt/streams.h"

namespace {

using galrec::simt::add_node;
using galrec::simt::break_capture;
using galrec::simt::Capture;
using galrec::simt::capture_of;
using galrec::simt::forbidden_while_capturing;
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
void set_now(void* to, int value, std::size_t bytes) {
  const galrec::simt::DeviceAccess access;
  std::memset(to, value, bytes);
}

cudaError_t copy_checked(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (!sides_are_right(to, from, bytes, kind)) return result(cudaErrorInvalidValue);
  copy_now(to, from, bytes);
  return cudaSuccess;
}

/// What tells two copies or memsets apart, a word each.
template <class... Values>
std::vector<std::byte> words_of(Values... values) {
  const std::uint64_t words[] = {std::bit_cast<std::uint64_t>(
      static_cast<std::conditional_t<std::is_pointer_v<Values>, const void*, std::uint64_t>>(values))...};
  std::vector<std::byte> bytes(sizeof(words));
  std::memcpy(bytes.data(), words, sizeof(words));
  return bytes;
}

/// Memory that is copied when the graph runs, so that pageable memory is refused.
cudaError_t capture_copy(Capture& capture, cudaStream_t stream, void* to, const void* from, std::size_t bytes,
                         cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (!sides_are_right(to, from, bytes, kind)) return result(cudaErrorInvalidValue);
  const auto fixed = [](const void* p) { return touches_device(p) || Pinned::shared().holds(p); };
  if (!fixed(to) || !fixed(from)) return result(break_capture(capture, cudaErrorStreamCaptureUnsupported));
  return add_node(capture, stream, {"memcpy", [=] { copy_now(to, from, bytes); }, words_of(to, from, bytes), {}});
}

}  // namespace

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  if (bytes == 0) return cudaSuccess;
  *pointer = galrec::simt::allocate_device(bytes);
  return result(*pointer != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  if (galrec::simt::find_allocation(pointer).begin != pointer) return result(cudaErrorInvalidValue);
  const cudaError_t error = galrec::simt::drain_all();  // as the device does
  galrec::simt::free_device(pointer);
  return error;
}
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  if (posix_memalign(pointer, 256, std::max<std::size_t>(bytes, 1)) != 0) return result(cudaErrorMemoryAllocation);
  Pinned::shared().add(*pointer, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  if (!Pinned::shared().remove(pointer)) return result(cudaErrorInvalidValue);
  const cudaError_t error = galrec::simt::drain_all();
  std::free(pointer);
  return error;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  return copy_checked(to, from, bytes, kind);  // of the default stream, which does not wait for non-blocking ones
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (stream == nullptr) return cudaMemcpy(to, from, bytes, kind);
  if (Capture* capture = capture_of(stream)) return capture_copy(*capture, stream, to, from, bytes, kind);
  if (!galrec::simt::streams_are_deferred()) return copy_checked(to, from, bytes, kind);
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
  if (const cudaError_t error = forbidden_while_capturing(); error != cudaSuccess) return result(error);
  if (bytes == 0) return cudaSuccess;
  if (!on_device(to, bytes)) return result(cudaErrorInvalidValue);
  set_now(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (stream == nullptr) return cudaMemset(to, value, bytes);
  if (bytes == 0) return cudaSuccess;
  if (!on_device(to, bytes)) return result(cudaErrorInvalidValue);
  if (Capture* capture = capture_of(stream)) {
    return add_node(*capture, stream, {"memset", [=] { set_now(to, value, bytes); }, words_of(to, value, bytes), {}});
  }
  if (galrec::simt::streams_are_deferred()) {
    galrec::simt::enqueue(stream, [=] { set_now(to, value, bytes); });
  } else {
    set_now(to, value, bytes);
  }
  return cudaSuccess;
}
