#pragma once
// NumPy's .npy: one matrix in a file.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace galrec::data {

/// A dense row-major matrix, as files bring it.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<float> values;  ///< rows * cols
};

/// A whole .npy file (versions 1 to 3): little-endian f2, f4 or f8, C order, two dimensions. DataError with `name` and
/// what was expected otherwise. Values may be NaN here: read_matrix() rejects those.
Matrix parse_npy(std::span<const std::byte> file, const std::string& name);

/// Version 1, '<f4', atomically.
void write_npy(const std::filesystem::path& path, std::int64_t rows, std::int64_t cols, const float* values);

}  // namespace galrec::data
