#include "kernels/common/memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace galrec {

namespace {

class HostMemory final : public MemoryResource {
 public:
  void* allocate(std::size_t bytes) override {
    void* p = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (p == nullptr) throw std::bad_alloc();
    return p;
  }
  void release(void* p) noexcept override { std::free(p); }
  void upload(void* to, const void* from_host, std::size_t bytes) override { copy(to, from_host, bytes); }
  void download(void* to_host, const void* from, std::size_t bytes) override { copy(to_host, from, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void clear(void* to, std::size_t bytes) override {
    if (bytes > 0) std::memset(to, 0, bytes);
  }
  bool host_accessible() const override { return true; }
};

}  // namespace

MemoryResource& host_memory() {
  static HostMemory memory;
  return memory;
}

}  // namespace galrec
