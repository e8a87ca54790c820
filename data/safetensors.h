#pragma once
// Reading one .safetensors file: memory-mapped, every size checked before anything is believed.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/mapped_file.h"
#include "data/safetensors_header.h"
#include "data/tensor_info.h"

namespace galrec::data {

/// The tensors of one file. All errors are DataErrors that name the file and the tensor.
class SafetensorsFile {
 public:
  /// Maps `path`; the values are read when asked for.
  static SafetensorsFile open(const std::filesystem::path& path);
  /// The same from memory that outlives the object; `name` stands for the path in messages.
  static SafetensorsFile from_bytes(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  const std::map<std::string, TensorInfo>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  bool contains(const std::string& tensor) const { return header_.tensors.contains(tensor); }
  /// DataError with the nearest name where there is no such tensor.
  const TensorInfo& info(const std::string& tensor) const;

  /// F32, F16, BF16 and F64 as float (F64 rounded to nearest); integers are an error.
  std::vector<float> read_f32(const std::string& tensor) const;
  /// The same as double: exact.
  std::vector<double> read_f64(const std::string& tensor) const;
  /// I32, I64 and U8; floating point is an error.
  std::vector<std::int64_t> read_i64(const std::string& tensor) const;
  /// The raw little-endian bytes, in row-major order; valid as long as the object.
  std::span<const std::byte> bytes(const std::string& tensor) const;

 private:
  SafetensorsFile(std::string name, std::optional<MappedFile> mapping, std::span<const std::byte> bytes);

  std::string name_;
  std::optional<MappedFile> mapping_;
  std::span<const std::byte> file_;
  SafetensorsHeader header_;
};

}  // namespace galrec::data
