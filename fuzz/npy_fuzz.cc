// Any bytes as a .npy file: a DataError, or a matrix of the size that it claims.

#include <cstddef>
#include <cstdint>
#include <span>

#include "data/matrix_file.h"
#include "data/npy.h"
#include "kernels/common/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace galrec;
  try {
    const auto matrix = data::parse_npy(std::as_bytes(std::span(bytes, size)), "fuzz");
    if (static_cast<std::int64_t>(matrix.values.size()) != matrix.rows * matrix.cols) __builtin_trap();
    data::require_finite(matrix, "fuzz");
  } catch (const DataError&) {
  }
  return 0;
}
