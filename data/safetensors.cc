#include "data/safetensors.h"

#include <bit>
#include <cstring>
#include <utility>

#include "data/half.h"
#include "data/nearest_name.h"
#include "kernels/common/check.h"
#include "kernels/common/dtype.h"

namespace galrec::data {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian; swap bytes here otherwise");

// Files promise no alignment: values are copied out byte by byte, which compilers turn into plain loads.
template <class Stored, class Value, class Convert>
std::vector<Value> convert(std::span<const std::byte> bytes, Convert&& to_value) {
  std::vector<Value> values(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = to_value(stored);
  }
  return values;
}

template <class Value>
std::vector<Value> read_floating(const SafetensorsFile& file, const std::string& tensor) {
  const TensorInfo& info = file.info(tensor);
  const auto bytes = file.bytes(tensor);
  switch (info.type) {
    case TensorType::kF32:
      return convert<float, Value>(bytes, [](float v) { return static_cast<Value>(v); });
    case TensorType::kF64:
      return convert<double, Value>(bytes, [](double v) { return static_cast<Value>(v); });
    case TensorType::kF16:
      return convert<std::uint16_t, Value>(bytes, [](std::uint16_t v) { return static_cast<Value>(half_to_float(v)); });
    case TensorType::kBF16:
      return convert<bfloat16, Value>(bytes, [](bfloat16 v) { return static_cast<Value>(static_cast<float>(v)); });
    default:
      throw DataError(
          fmt::format("{}: tensor '{}': got {}, expected floating point", file.name(), tensor, type_name(info.type)));
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::string name, std::optional<MappedFile> mapping, std::span<const std::byte> bytes)
    : name_(std::move(name)),
      mapping_(std::move(mapping)),
      file_(mapping_ ? mapping_->bytes() : bytes),
      header_(parse_safetensors_header(file_, name_)) {}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  return SafetensorsFile(path.string(), MappedFile(path), {});
}

SafetensorsFile SafetensorsFile::from_bytes(std::span<const std::byte> bytes, std::string name) {
  return SafetensorsFile(std::move(name), std::nullopt, bytes);
}

const TensorInfo& SafetensorsFile::info(const std::string& tensor) const {
  const auto found = header_.tensors.find(tensor);
  if (found != header_.tensors.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, info] : header_.tensors) names.push_back(name);
  throw DataError(fmt::format("{}: no tensor '{}'{}", name_, tensor, did_you_mean(tensor, names)));
}

std::span<const std::byte> SafetensorsFile::bytes(const std::string& tensor) const {
  const TensorInfo& range = info(tensor);
  return file_.subspan(header_.data_begin + range.begin, range.end - range.begin);
}

std::vector<float> SafetensorsFile::read_f32(const std::string& tensor) const {
  return read_floating<float>(*this, tensor);
}

std::vector<double> SafetensorsFile::read_f64(const std::string& tensor) const {
  return read_floating<double>(*this, tensor);
}

std::vector<std::int64_t> SafetensorsFile::read_i64(const std::string& tensor) const {
  const TensorInfo& range = info(tensor);
  switch (range.type) {
    case TensorType::kI32:
      return convert<std::int32_t, std::int64_t>(bytes(tensor), [](std::int32_t v) { return std::int64_t{v}; });
    case TensorType::kI64:
      return convert<std::int64_t, std::int64_t>(bytes(tensor), [](std::int64_t v) { return v; });
    case TensorType::kU8:
      return convert<std::uint8_t, std::int64_t>(bytes(tensor), [](std::uint8_t v) { return std::int64_t{v}; });
    default:
      throw DataError(fmt::format("{}: tensor '{}': got {}, expected integers", name_, tensor, type_name(range.type)));
  }
}

}  // namespace galrec::data
