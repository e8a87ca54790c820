#pragma once
// Input files in a temporary folder and the shape of error messages, for the tests of the readers.

#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>

#include "kernels/common/check.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data::test {

/// A temporary folder to put input files into.
class InputFolder : public galrec::test::TemporaryFolder {
 public:
  std::filesystem::path write(const std::string& file, std::string_view text) const {
    std::filesystem::create_directories((path() / file).parent_path());
    std::ofstream(path() / file, std::ios::binary) << text;
    return path() / file;
  }
  std::filesystem::path write_gzip(const std::string& file, std::string_view text) const {
    gzFile out = gzopen((path() / file).c_str(), "wb");
    gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
    gzclose(out);
    return path() / file;
  }
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Expects a DataError (exit code 3) whose message contains every part.
inline void expect_data_error(const std::function<void()>& run, std::initializer_list<std::string_view> parts) {
  try {
    run();
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), 3);
    for (const std::string_view part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    return;
  } catch (const std::exception& error) {
    FAIL() << "another error: " << error.what();
  }
  FAIL() << "no error";
}

}  // namespace galrec::data::test
