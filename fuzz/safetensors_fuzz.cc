// Any bytes as a .safetensors file, and as the index of a sharded checkpoint: a DataError or tensors that can be read.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "data/checkpoint_reader.h"
#include "data/safetensors.h"
#include "kernels/common/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace galrec;
  try {
    const auto file = data::SafetensorsFile::from_bytes(std::as_bytes(std::span(bytes, size)), "fuzz");
    for (const auto& [name, info] : file.tensors()) {
      const bool integer = info.type == data::TensorType::kI32 || info.type == data::TensorType::kI64 ||
                           info.type == data::TensorType::kU8;
      const std::size_t read = integer ? file.read_i64(name).size() : file.read_f32(name).size();
      if (!integer && file.read_f64(name).size() != read) __builtin_trap();
      if (read != static_cast<std::size_t>(info.elements())) __builtin_trap();
    }
  } catch (const DataError&) {
  }
  try {
    data::parse_checkpoint_index(std::string(reinterpret_cast<const char*>(bytes), size), "fuzz");
  } catch (const DataError&) {
  }
  return 0;
}
