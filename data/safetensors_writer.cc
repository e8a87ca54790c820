#include "data/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/common/check.h"

namespace galrec::data {

void SafetensorsWriter::add(const std::string& name, Shape shape, std::span<const float> values) {
  add_bytes(name, TensorType::kF32, std::move(shape), std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, Shape shape, std::span<const double> values) {
  add_bytes(name, TensorType::kF64, std::move(shape), std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, Shape shape, std::span<const bfloat16> values) {
  add_bytes(name, TensorType::kBF16, std::move(shape), std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, Shape shape, std::span<const std::int32_t> values) {
  add_bytes(name, TensorType::kI32, std::move(shape), std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, Shape shape, std::span<const std::int64_t> values) {
  add_bytes(name, TensorType::kI64, std::move(shape), std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, Shape shape, std::span<const std::uint8_t> values) {
  add_bytes(name, TensorType::kU8, std::move(shape), std::as_bytes(values));
}
void SafetensorsWriter::add_f16(const std::string& name, Shape shape, std::span<const std::uint16_t> values) {
  add_bytes(name, TensorType::kF16, std::move(shape), std::as_bytes(values));
}

void SafetensorsWriter::add_bytes(const std::string& name, TensorType type, Shape shape,
                                  std::span<const std::byte> bytes) {
  std::int64_t expected = static_cast<std::int64_t>(bytes_per_element(type));
  for (const std::int64_t extent : shape)
    GALREC_CHECK(extent >= 0 && !__builtin_mul_overflow(expected, extent, &expected), "tensor '{}': shape {}", name,
                 shape_text(shape));
  GALREC_CHECK(static_cast<std::uint64_t>(expected) == bytes.size(), "tensor '{}': {} bytes for {} {}", name,
               bytes.size(), type_name(type), shape_text(shape));
  GALREC_CHECK(name != "__metadata__", "the name is reserved");
  const bool added = entries_.emplace(name, Entry{type, std::move(shape), bytes}).second;
  GALREC_CHECK(added, "tensor '{}' is added twice", name);
}

void SafetensorsWriter::write(const std::filesystem::path& path) const {
  AtomicFile file(path);
  write(file);
  file.commit();
}

void SafetensorsWriter::write(AtomicFile& file) const {
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (const auto& [name, entry] : entries_) order.emplace_back(&name, &entry);
  // The map is sorted by name already; wide types first keep every tensor aligned to its element.
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return bytes_per_element(a.second->type) > bytes_per_element(b.second->type);
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  std::uint64_t offset = 0;
  for (const auto& [name, entry] : order) {
    header[*name] = {{"dtype", type_name(entry->type)},
                     {"shape", entry->shape},
                     {"data_offsets", {offset, offset + entry->bytes.size()}}};
    offset += entry->bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');

  const auto length = static_cast<std::uint64_t>(text.size());
  unsigned char length_bytes[8];
  for (int i = 0; i < 8; ++i) length_bytes[i] = static_cast<unsigned char>(length >> (8 * i));
  file.write(length_bytes, sizeof length_bytes);
  file.write(text);
  for (const auto& [name, entry] : order) file.write(entry->bytes.data(), entry->bytes.size());
}

}  // namespace galrec::data
