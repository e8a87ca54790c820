#pragma once
// "Device" memory is host memory that knows its bounds. With GALREC_SIMT_GUARD_HOST=1 the operating system denies access to it
// except while a grid, a copy or a memset runs: host code that dereferences a device pointer stops with a message.

#include <cstddef>
#include <cstdint>

namespace galrec::simt {

struct Allocation {
  const std::byte* begin = nullptr;  // null: none
  std::size_t bytes = 0;
  std::uint64_t number = 0;  // of all that were ever made: tells it from a later one at the same address
};

/// Aligned to 256, poisoned with 0xff. Null when there is no memory.
void* allocate_device(std::size_t bytes);
/// False if `p` is not the beginning of an allocation.
bool free_device(void* p);
/// The allocation that holds all of [p, p + bytes), if there is one.
Allocation find_allocation(const void* p, std::size_t bytes = 1);
std::size_t device_bytes_in_use();

/// While one lives, device memory can be accessed.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace galrec::simt
