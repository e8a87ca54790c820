#include "kernels/simt/device_memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace galrec::simt {

namespace {

constexpr std::size_t kAlign = 256, kPage = 4096;

struct Extent {
  std::size_t bytes = 0;
  std::byte* mapped = nullptr;  // whole pages, in guarded mode
  std::size_t mapped_bytes = 0;
  std::uint64_t number = 0;
};

class Registry {
 public:
  static Registry& shared() {
    static Registry* registry = new Registry;  // never destroyed: buffers in static objects may be freed after it
    return *registry;
  }

  void* allocate(std::size_t bytes) {
    Extent block{bytes};
    void* p = nullptr;
    if (guarded_) {
      // The end of the allocation lies at the end of its pages, a page that is always denied follows.
      const std::size_t rounded = (bytes + kAlign - 1) / kAlign * kAlign;
      block.mapped_bytes = (rounded + kPage - 1) / kPage * kPage;
      void* mapped = mmap(nullptr, block.mapped_bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (mapped == MAP_FAILED) return nullptr;
      block.mapped = static_cast<std::byte*>(mapped);
      p = block.mapped + block.mapped_bytes - rounded;
      std::memset(p, 0xff, bytes);
      mprotect(block.mapped + block.mapped_bytes, kPage, PROT_NONE);
    } else {
      if (posix_memalign(&p, kAlign, bytes) != 0) return nullptr;
      std::memset(p, 0xff, bytes);
    }
    const std::lock_guard lock(mutex_);
    block.number = ++allocations_;
    blocks_.emplace(static_cast<std::byte*>(p), block);
    in_use_ += bytes;
    if (guarded_ && open_ == 0) protect(block, PROT_NONE);
    return p;
  }

  bool free(void* p) {
    Extent block;
    {
      const std::lock_guard lock(mutex_);
      const auto found = blocks_.find(static_cast<std::byte*>(p));
      if (found == blocks_.end()) return false;
      block = found->second;
      in_use_ -= block.bytes;
      blocks_.erase(found);
    }
    if (guarded_) {
      munmap(block.mapped, block.mapped_bytes + kPage);
    } else {
      std::free(p);
    }
    return true;
  }

  Allocation find(const void* p, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    return find_unlocked(static_cast<const std::byte*>(p), bytes);
  }

  std::size_t in_use() {
    const std::lock_guard lock(mutex_);
    return in_use_;
  }

  void open() {
    if (!guarded_) return;
    const std::lock_guard lock(mutex_);
    if (open_++ == 0) protect_all(PROT_READ | PROT_WRITE);
  }
  void close() {
    if (!guarded_) return;
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) protect_all(PROT_NONE);
  }

 private:
  Registry() {
    const char* value = std::getenv("GALREC_SIMT_GUARD_HOST");
    guarded_ = value != nullptr && std::strcmp(value, "1") == 0;
    if (guarded_) watch_faults();
  }

  Allocation find_unlocked(const std::byte* p, std::size_t bytes) const {
    auto after = blocks_.upper_bound(p);
    if (after == blocks_.begin()) return {};
    const auto& [begin, block] = *--after;
    const auto offset = static_cast<std::size_t>(p - begin);
    if (offset > block.bytes || bytes > block.bytes - offset) return {};
    return {begin, block.bytes, block.number};
  }

  static void protect(const Extent& block, int rights) { mprotect(block.mapped, block.mapped_bytes, rights); }
  void protect_all(int rights) {
    for (const auto& entry : blocks_) protect(entry.second, rights);
  }

  void watch_faults() {
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = &Registry::explain;
    sigaction(SIGSEGV, &action, &before_);
  }

  /// Says what was touched, then lets the fault take its course.
  static void explain(int, siginfo_t* fault, void*) {
    Registry& self = shared();
    if (self.mutex_.try_lock()) {
      const auto* at = static_cast<const std::byte*>(fault->si_addr);
      for (const auto& [begin, block] : self.blocks_) {
        if (at < block.mapped || at >= block.mapped + block.mapped_bytes + kPage) continue;
        char text[256];
        const bool kernel = self.open_ > 0;
        const int length = std::snprintf(text, sizeof(text),
                                         "%s: byte %td of the %zu bytes of device memory at %p was touched by %s\n",
                                         kernel ? "device memory overrun" : "host code dereferences device memory", at - begin,
                                         block.bytes, static_cast<const void*>(begin), kernel ? "a kernel or a copy" : "the host");
        if (write(STDERR_FILENO, text, static_cast<std::size_t>(length)) < 0) break;
      }
      self.mutex_.unlock();
    }
    sigaction(SIGSEGV, &self.before_, nullptr);
  }

  bool guarded_ = false;
  std::mutex mutex_;
  std::map<const std::byte*, Extent> blocks_;
  std::size_t in_use_ = 0;
  std::uint64_t allocations_ = 0;
  int open_ = 0;
  struct sigaction before_ {};
};

}  // namespace

void* allocate_device(std::size_t bytes) { return Registry::shared().allocate(bytes); }
bool free_device(void* p) { return Registry::shared().free(p); }
Allocation find_allocation(const void* p, std::size_t bytes) { return Registry::shared().find(p, bytes); }
std::size_t device_bytes_in_use() { return Registry::shared().in_use(); }

DeviceAccess::DeviceAccess() { Registry::shared().open(); }
DeviceAccess::~DeviceAccess() { Registry::shared().close(); }

}  // namespace galrec::simt
