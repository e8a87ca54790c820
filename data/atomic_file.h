#pragma once
// A file that is either the old one or the new one, whole, whatever happens in between.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace galrec::data {

/// Writes to a temporary name in the folder of `final_path`; commit() syncs the file, renames it over `final_path` and
/// syncs the folder. Without commit() the destructor removes the temporary and the old file stays as it was.
/// Every failed system call (a full disk among them) is a DataError with the path and the reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path final_path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view text) { write(text.data(), text.size()); }
  void write(const void* bytes, std::size_t size);
  void commit();

  const std::filesystem::path& path() const { return final_path_; }

 private:
  [[noreturn]] void fail(const char* what, int error) const;
  void put(const std::byte* bytes, std::size_t size);
  void flush();
  void close_quietly() noexcept;

  std::filesystem::path final_path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
  std::size_t used_ = 0;
  std::unique_ptr<std::byte[]> buffer_;
};

/// `text` as the whole content of `path`, atomically.
void write_file(const std::filesystem::path& path, std::string_view text);

/// The whole of a file as text; DataError where it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// fsync of a folder, so that renames in it survive a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace galrec::data
