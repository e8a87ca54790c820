#include "kernels/simt/shared_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/simt/sanitizers.h"

namespace galrec::simt {

namespace {
constexpr std::size_t kStrip = kAddressSanitizer ? 0 : 1024;
constexpr std::byte kStripByte{0xa5};
}  // namespace

SharedBuffer::~SharedBuffer() { std::free(data_); }

void SharedBuffer::resize(std::size_t bytes) {
  if (data_ != nullptr && bytes == bytes_) return;
  std::free(data_);
  data_ = nullptr;
  void* p = nullptr;
  if (posix_memalign(&p, 1024, std::max<std::size_t>(bytes + kStrip, 1)) != 0) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(p);
  bytes_ = bytes;
  std::fill_n(data_ + bytes, kStrip, kStripByte);
}

void SharedBuffer::poison() {
  std::memset(data_, 0xff, bytes_);
  std::fill_n(data_ + bytes_, kStrip, kStripByte);
}

bool SharedBuffer::intact() const {
  return std::all_of(data_ + bytes_, data_ + bytes_ + kStrip, [](std::byte b) { return b == kStripByte; });
}

}  // namespace galrec::simt
