#pragma once
// What a safetensors file says about one tensor.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace galrec::data {

enum class TensorType { kF32, kF16, kBF16, kF64, kI32, kI64, kU8 };

struct TensorInfo {
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;  ///< row-major; empty for a scalar
  std::uint64_t begin = 0;          ///< byte range [begin, end) of the data part of the file
  std::uint64_t end = 0;

  std::int64_t elements() const {
    std::int64_t product = 1;
    for (const std::int64_t extent : shape) product *= extent;
    return product;
  }
};

std::size_t bytes_per_element(TensorType type);

/// The name in the file: "F32", "BF16", ...
std::string_view type_name(TensorType type);
std::optional<TensorType> parse_tensor_type(std::string_view name);

/// "[2, 3]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace galrec::data
