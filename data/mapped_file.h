#pragma once
// A whole file, read-only, mapped into memory.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace galrec::data {

/// Owns the mapping; move-only. An unreadable file is a DataError with its path and the reason. Pages are read on first
/// use, so that opening a checkpoint of any size costs nothing.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace galrec::data
