#pragma once
// Writing .safetensors files.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/atomic_file.h"
#include "data/tensor_info.h"
#include "kernels/common/dtype.h"

namespace galrec::data {

/// Collects tensors, then writes them at once. The values are NOT copied: they must live until write(). The bytes of
/// the file depend on nothing but names, shapes, values and metadata: tensors lie wide types first, then by name,
/// without gaps, each aligned to its element; the header is padded to 8 bytes. CheckError for a name that occurs twice
/// or a shape that does not fit the number of values.
class SafetensorsWriter {
 public:
  using Shape = std::vector<std::int64_t>;

  void add(const std::string& name, Shape shape, std::span<const float> values);
  void add(const std::string& name, Shape shape, std::span<const double> values);
  void add(const std::string& name, Shape shape, std::span<const bfloat16> values);
  void add(const std::string& name, Shape shape, std::span<const std::int32_t> values);
  void add(const std::string& name, Shape shape, std::span<const std::int64_t> values);
  void add(const std::string& name, Shape shape, std::span<const std::uint8_t> values);
  /// IEEE binary16 as bit patterns.
  void add_f16(const std::string& name, Shape shape, std::span<const std::uint16_t> values);

  /// Replaces the default, {"format": "pt"}, without which transformers refuses a checkpoint.
  void set_metadata(std::map<std::string, std::string> metadata) { metadata_ = std::move(metadata); }

  /// Atomically: the old file or the whole new one.
  void write(const std::filesystem::path& path) const;
  /// Without commit, into a file that may hold something before.
  void write(AtomicFile& file) const;

 private:
  struct Entry {
    TensorType type;
    Shape shape;
    std::span<const std::byte> bytes;
  };
  void add_bytes(const std::string& name, TensorType type, Shape shape, std::span<const std::byte> bytes);

  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_{{"format", "pt"}};
};

}  // namespace galrec::data
