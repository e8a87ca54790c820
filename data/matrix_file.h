#pragma once
// A matrix of embeddings from a file of the user's.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/npy.h"

namespace galrec::data {

/// Reads `.npy`, or one two-dimensional floating-point tensor of a `.safetensors` file: `tensor`, or the only one there
/// is. DataError naming file, row and column for a value that is not finite (as float), and for any other format.
Matrix read_matrix(const std::filesystem::path& path, const std::optional<std::string>& tensor = std::nullopt);

/// DataError with `name`, row and column of the first value that is not finite.
void require_finite(const Matrix& matrix, const std::string& name);

}  // namespace galrec::data
