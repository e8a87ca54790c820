#pragma once
// The header of a safetensors file: JSON from a source that is not trusted.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "data/tensor_info.h"

namespace galrec::data {

struct SafetensorsHeader {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  std::size_t data_begin = 0;  ///< byte of the file at which the data part starts
};

/// Parses and checks the header of `file` (the whole file). Holds on return: every byte range lies in the file and has
/// the size of its shape, and the ranges tile the data part without gap or overlap.
/// DataError with `name`, the tensor or byte, and what was expected otherwise.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& name);

}  // namespace galrec::data
