#pragma once
// The fixtures of tests/golden, which lie in the repository.

#include <cstdlib>
#include <filesystem>
#include <string>

namespace galrec::test {

/// tests/golden/<name> in the source tree (GALREC_SOURCE_DIR, set by ctest, or where this file was compiled from).
inline std::filesystem::path golden(const std::string& name) {
  namespace fs = std::filesystem;
  if (const char* root = std::getenv("GALREC_SOURCE_DIR"); root != nullptr && *root != '\0') {
    return fs::path(root) / "tests" / "golden" / name;
  }
  return fs::absolute(fs::path(__FILE__)).parent_path().parent_path() / "golden" / name;
}

}  // namespace galrec::test
