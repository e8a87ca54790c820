#include "data/matrix_file.h"

#include <cmath>
#include <vector>

#include "data/mapped_file.h"
#include "data/message_text.h"
#include "data/safetensors.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

Matrix read_safetensors_matrix(const std::filesystem::path& path, const std::optional<std::string>& tensor) {
  const auto file = SafetensorsFile::open(path);
  std::string name = tensor.value_or("");
  if (!tensor) {
    std::vector<std::string> candidates;
    for (const auto& [candidate, info] : file.tensors())
      if (info.shape.size() == 2 && info.type != TensorType::kI32 && info.type != TensorType::kI64 &&
          info.type != TensorType::kU8)
        candidates.push_back(candidate);
    if (candidates.size() != 1)
      throw DataError(
          fmt::format("{}: expected one two-dimensional floating-point tensor, or the name of one; got {} ({})",
                      file.name(), candidates.size(), join(candidates)));
    name = candidates.front();
  }
  const TensorInfo& info = file.info(name);
  if (info.shape.size() != 2)
    throw DataError(fmt::format("{}: tensor '{}': got shape {}, expected two dimensions", file.name(), name,
                                shape_text(info.shape)));
  return {info.shape[0], info.shape[1], file.read_f32(name)};
}

}  // namespace

Matrix read_matrix(const std::filesystem::path& path, const std::optional<std::string>& tensor) {
  Matrix matrix;
  if (path.extension() == ".npy") {
    if (tensor) throw DataError(fmt::format("{}: a .npy file has no tensor names, got '{}'", path.string(), *tensor));
    matrix = parse_npy(MappedFile(path).bytes(), path.string());
  } else if (path.extension() == ".safetensors") {
    matrix = read_safetensors_matrix(path, tensor);
  } else {
    throw DataError(fmt::format("{}: expected a matrix in a .npy or .safetensors file", path.string()));
  }
  require_finite(matrix, path.string());
  return matrix;
}

void require_finite(const Matrix& matrix, const std::string& name) {
  for (std::size_t i = 0; i < matrix.values.size(); ++i)
    if (!std::isfinite(matrix.values[i]))
      throw DataError(fmt::format("{}: row {}, column {} (from 0): got {}, expected a finite number", name,
                                  static_cast<std::int64_t>(i) / matrix.cols,
                                  static_cast<std::int64_t>(i) % matrix.cols, matrix.values[i]));
}

}  // namespace galrec::data
