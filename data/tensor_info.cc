#include "data/tensor_info.h"

#include <array>

namespace galrec::data {
namespace {

struct TypeRow {
  TensorType type;
  std::string_view name;
  std::size_t bytes;
};

constexpr std::array<TypeRow, 7> kTypes{{{TensorType::kF32, "F32", 4},
                                         {TensorType::kF16, "F16", 2},
                                         {TensorType::kBF16, "BF16", 2},
                                         {TensorType::kF64, "F64", 8},
                                         {TensorType::kI32, "I32", 4},
                                         {TensorType::kI64, "I64", 8},
                                         {TensorType::kU8, "U8", 1}}};

const TypeRow& row(TensorType type) {
  return kTypes.at(static_cast<std::size_t>(type));
}

}  // namespace

std::size_t bytes_per_element(TensorType type) {
  return row(type).bytes;
}

std::string_view type_name(TensorType type) {
  return row(type).name;
}

std::optional<TensorType> parse_tensor_type(std::string_view name) {
  for (const TypeRow& candidate : kTypes)
    if (candidate.name == name) return candidate.type;
  return std::nullopt;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  text += ']';
  return text;
}

}  // namespace galrec::data
