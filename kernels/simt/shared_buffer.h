#pragma once
// A block's dynamic shared memory: exactly as many bytes as the launch gave, so that AddressSanitizer sees an overrun. Without it
// a strip of known bytes behind the buffer shows at the block's end that somebody wrote there.

#include <cstddef>

namespace galrec::simt {

class SharedBuffer {
 public:
  SharedBuffer() = default;
  ~SharedBuffer();
  SharedBuffer(const SharedBuffer&) = delete;
  SharedBuffer& operator=(const SharedBuffer&) = delete;

  /// Aligned to 1024.
  void resize(std::size_t bytes);
  /// 0xff in every byte: NaN in fp32 and bf16, -1 in integers.
  void poison();
  /// Whether nothing was written just behind the buffer.
  bool intact() const;

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace galrec::simt
