#include "data/checkpoint_swap.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "data/atomic_file.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

namespace fs = std::filesystem;

void rename_or_throw(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw DataError(fmt::format("{}: cannot rename to {}: {}", from.string(), to.string(), error.message()));
}

void remove_tree(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) throw DataError(fmt::format("{}: cannot remove: {}", folder.string(), error.message()));
}

fs::path beside(const fs::path& target, const char* suffix) {
  return target.parent_path() / ("." + target.filename().string() + suffix);
}

}  // namespace

fs::path incoming_folder(const fs::path& target) {
  return beside(target, ".new");
}
fs::path outgoing_folder(const fs::path& target) {
  return beside(target, ".old");
}

void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const int descriptor = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && (::fsync(descriptor) == 0 || errno == EINVAL);
    const int error = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (!synced) throw DataError(fmt::format("{}: cannot sync: {}", entry.path().string(), std::strerror(error)));
  }
  sync_folder(folder);
}

void swap_in_folder_by_renames(const fs::path& target) {
  const fs::path incoming = incoming_folder(target), outgoing = outgoing_folder(target);
  if (fs::exists(target)) rename_or_throw(target, outgoing);
  rename_or_throw(incoming, target);
  sync_folder(target.parent_path());
  remove_tree(outgoing);
}

void swap_in_folder(const fs::path& target) {
  const fs::path incoming = incoming_folder(target);
  if (fs::exists(target) && ::renameat2(AT_FDCWD, incoming.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
    sync_folder(target.parent_path());
    remove_tree(incoming);  // the exchange has put the old folder there
    return;
  }
  swap_in_folder_by_renames(target);
}

void recover_folder(const fs::path& target) {
  const fs::path outgoing = outgoing_folder(target);
  // Killed between the two renames. The old folder is complete for certain, so it comes back.
  if (!fs::exists(target) && fs::exists(outgoing)) rename_or_throw(outgoing, target);
  remove_tree(outgoing);
  remove_tree(incoming_folder(target));
}

}  // namespace galrec::data
