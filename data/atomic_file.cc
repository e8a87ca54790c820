#include "data/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

// Process id and counter: two writers of one file never share a temporary.
std::string temporary_suffix() {
  static std::atomic<unsigned> counter{0};
  return fmt::format(".{}.{}.tmp", ::getpid(), counter.fetch_add(1));
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path final_path)
    : final_path_(std::move(final_path)), buffer_(new std::byte[kBufferBytes]) {
  std::error_code error;
  if (std::filesystem::is_directory(final_path_, error))
    throw DataError(fmt::format("{}: cannot write: it is a folder", final_path_.string()));
  temporary_ = folder_of(final_path_) / ("." + final_path_.filename().string() + temporary_suffix());
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("create", errno);
}

AtomicFile::~AtomicFile() {
  close_quietly();
  if (!committed_) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* what, int error) const {
  throw DataError(fmt::format("{}: cannot {}: {}", final_path_.string(), what, std::strerror(error)));
}

void AtomicFile::write(const void* bytes, std::size_t size) {
  GALREC_CHECK(descriptor_ >= 0, "{}: write after commit or after an error", final_path_.string());
  const auto* from = static_cast<const std::byte*>(bytes);
  if (size >= kBufferBytes) {  // a large tensor goes straight to the file
    flush();
    put(from, size);
    return;
  }
  if (used_ + size > kBufferBytes) flush();
  if (size > 0) std::memcpy(buffer_.get() + used_, from, size);
  used_ += size;
}

void AtomicFile::flush() {
  put(buffer_.get(), used_);
  used_ = 0;
}

void AtomicFile::put(const std::byte* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      close_quietly();
      ::unlink(temporary_.c_str());
      fail("write", error);
    }
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  GALREC_CHECK(descriptor_ >= 0, "{}: commit twice or after an error", final_path_.string());
  flush();
  if (::fsync(descriptor_) != 0) fail("sync", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("close", errno);
  if (::rename(temporary_.c_str(), final_path_.c_str()) != 0) fail("rename the finished file", errno);
  committed_ = true;
  sync_folder(folder_of(final_path_));
}

void AtomicFile::close_quietly() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw DataError(fmt::format("{}: cannot open: {}", path.string(), std::strerror(errno)));
  std::string text;
  std::unique_ptr<char[]> block(new char[1 << 16]);
  for (;;) {
    const ssize_t got = ::read(descriptor, block.get(), 1 << 16);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(descriptor);
      throw DataError(fmt::format("{}: cannot read: {}", path.string(), std::strerror(error)));
    }
    if (got == 0) break;
    text.append(block.get(), static_cast<std::size_t>(got));
  }
  ::close(descriptor);
  return text;
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    throw DataError(fmt::format("{}: cannot open the folder: {}", folder.string(), std::strerror(errno)));
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot sync a folder; they order renames themselves.
  if (result != 0 && error != EINVAL && error != ENOTSUP)
    throw DataError(fmt::format("{}: cannot sync the folder: {}", folder.string(), std::strerror(error)));
}

}  // namespace galrec::data
