#pragma once
// Where the shared data lie: tests that want them skip, and are counted as skipped, on a machine without them.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace galrec::test {

/// The folder with beauty/, toys/, yelp/, tokenizer/: $GALREC_DATA, or ../shared/data beside the checkout.
inline std::filesystem::path real_data_root() {
  namespace fs = std::filesystem;
  if (const char* named = std::getenv("GALREC_DATA"); named != nullptr && *named != '\0') return named;
  std::error_code ignored;
  const fs::path checkout = fs::absolute(fs::path(__FILE__)).parent_path().parent_path().parent_path();
  if (const fs::path beside = checkout.parent_path() / "shared" / "data"; fs::is_directory(beside, ignored))
    return beside;
  // A moved build: look beside every folder above the working one.
  for (fs::path at = fs::current_path(ignored); at.has_relative_path(); at = at.parent_path())
    if (fs::is_directory(at.parent_path() / "shared" / "data", ignored)) return at.parent_path() / "shared" / "data";
  return checkout.parent_path() / "shared" / "data";
}

/// A file or folder of the shared data, such as "beauty" or "tokenizer/spiece.model". It may not exist.
inline std::filesystem::path real_data(const std::string& relative) {
  return real_data_root() / relative;
}

/// A file or folder of what the references compute, such as "flan_tiny": ../golden beside the data.
inline std::filesystem::path golden_data(const std::string& relative) {
  return real_data_root().parent_path() / "golden" / relative;
}

inline bool present(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace galrec::test

/// Skips the test where `path` does not exist.
#define GALREC_REQUIRE_DATA(path)                                                                          \
  do {                                                                                                     \
    if (!::galrec::test::present(path))                                                                    \
      GTEST_SKIP() << (path) << " is not here (set GALREC_DATA to the folder with beauty/, toys/, yelp/)"; \
  } while (false)
