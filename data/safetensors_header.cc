#include "data/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "data/message_text.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr const char* kMetadata = "__metadata__";

// Receives JSON events and accepts exactly the grammar of a safetensors header:
//   { name: { "dtype": string, "shape": [n...], "data_offsets": [begin, end] }, "__metadata__": { string: string } }
// Events instead of a document: duplicate names stay visible, and no nesting deeper than the grammar is ever built.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderEvents(std::string file, SafetensorsHeader& header) : file_(std::move(file)), header_(header) {}

  bool null() override { unexpected("null"); }
  bool boolean(bool value) override { unexpected(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) override { unexpected(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) override { unexpected(text); }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<std::uint64_t>(INT64_MAX)) fail_tensor(fmt::format("shape: {} is too large", value));
      info_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::kOffsets) {
      if (offsets_ == 2) fail_tensor("data_offsets: got more than two numbers");
      (offsets_++ == 0 ? info_.begin : info_.end) = value;
    } else {
      unexpected(fmt::format("{}", value));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace(key_, value);
    } else if (place_ == Place::kTensor && key_ == "dtype") {
      const auto type = parse_tensor_type(value);
      if (!type)
        fail_tensor(fmt::format("unknown dtype '{}'; expected F32, F16, BF16, F64, I32, I64 or U8", shorten(value)));
      info_.type = *type;
    } else {
      unexpected(fmt::format("'{}'", shorten(value)));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kRoot;
    } else if (place_ == Place::kRoot) {
      place_ = tensor_ == kMetadata ? Place::kMetadata : Place::kTensor;
      info_ = {};
      offsets_ = 0;
      fields_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& value) override {
    if (place_ == Place::kRoot) {
      tensor_ = value;
      if (tensor_ == kMetadata ? std::exchange(has_metadata_, true) : header_.tensors.contains(tensor_))
        fail_tensor("the name occurs twice");
    } else if (place_ == Place::kTensor) {
      if (value != "dtype" && value != "shape" && value != "data_offsets")
        fail_tensor(fmt::format("unknown field '{}'; expected dtype, shape and data_offsets", shorten(value)));
      if (std::find(fields_.begin(), fields_.end(), value) != fields_.end())
        fail_tensor(fmt::format("field '{}' occurs twice", value));
      fields_.push_back(value);
    } else if (place_ == Place::kMetadata && header_.metadata.contains(value)) {
      fail_tensor(fmt::format("key '{}' occurs twice", shorten(value)));
    }
    key_ = value;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      if (fields_.size() != 3) fail_tensor("expected the fields dtype, shape and data_offsets");
      header_.tensors.emplace(tensor_, info_);
    }
    place_ = place_ == Place::kRoot ? Place::kEnd : Place::kRoot;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape")
      place_ = Place::kShape;
    else if (place_ == Place::kTensor && key_ == "data_offsets")
      place_ = Place::kOffsets;
    else
      unexpected("an array");
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_ != 2) fail_tensor("data_offsets: expected two numbers");
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw DataError(fmt::format("{}: byte {}: the header is not JSON: {}", file_, 8 + position - (position > 0),
                                shorten(error.what())));
  }

 private:
  enum class Place { kStart, kRoot, kTensor, kMetadata, kShape, kOffsets, kEnd };

  [[noreturn]] void fail_tensor(const std::string& what) const {
    throw DataError(fmt::format("{}: tensor '{}': {}", file_, shorten(tensor_), what));
  }

  [[noreturn]] void unexpected(const std::string& got) const {
    const char* expected = place_ == Place::kShape      ? "a non-negative integer in shape"
                           : place_ == Place::kOffsets  ? "a non-negative integer in data_offsets"
                           : place_ == Place::kMetadata ? "a string"
                           : place_ == Place::kRoot     ? "an object with dtype, shape and data_offsets"
                           : place_ != Place::kTensor   ? "an object"
                           : key_ == "dtype"            ? "a dtype string"
                                                        : "an array of non-negative integers";
    const std::string field = place_ == Place::kTensor ? fmt::format(" in {}", key_) : std::string();
    fail_tensor(fmt::format("got {}{}, expected {}", got, field, expected));
  }

  std::string file_;
  SafetensorsHeader& header_;
  Place place_ = Place::kStart;
  std::string tensor_, key_;
  TensorInfo info_;
  int offsets_ = 0;
  bool has_metadata_ = false;
  std::vector<std::string> fields_;
};

// The range has the size of the shape; the product cannot overflow.
void check_size(const std::string& file, const std::string& tensor, const TensorInfo& info) {
  if (info.begin > info.end)
    throw DataError(fmt::format("{}: tensor '{}': data_offsets [{}, {}] end before they begin", file, shorten(tensor),
                                info.begin, info.end));
  std::int64_t bytes = static_cast<std::int64_t>(bytes_per_element(info.type));
  for (const std::int64_t extent : info.shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      throw DataError(fmt::format("{}: tensor '{}': the size of {} {} overflows 64 bits", file, shorten(tensor),
                                  type_name(info.type), shape_text(info.shape)));
  if (info.end - info.begin != static_cast<std::uint64_t>(bytes))
    throw DataError(fmt::format("{}: tensor '{}': data_offsets [{}, {}] hold {} bytes, expected {} for {} {}", file,
                                tensor, info.begin, info.end, info.end - info.begin, bytes, type_name(info.type),
                                shape_text(info.shape)));
}

// The ranges tile [0, data_bytes).
void check_tiling(const std::string& file, const std::map<std::string, TensorInfo>& tensors, std::uint64_t data_bytes) {
  std::vector<std::pair<const std::string*, const TensorInfo*>> order;
  order.reserve(tensors.size());
  for (const auto& [name, info] : tensors) {
    if (info.end > data_bytes)
      throw DataError(
          fmt::format("{}: tensor '{}': data_offsets [{}, {}] lie outside the file: {} bytes follow the header", file,
                      shorten(name), info.begin, info.end, data_bytes));
    order.emplace_back(&name, &info);
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::uint64_t covered = 0;
  const std::string* previous = nullptr;
  for (const auto& [name, info] : order) {
    if (info->begin < covered)
      throw DataError(
          fmt::format("{}: tensor '{}': data_offsets [{}, {}] overlap those of tensor '{}', which end at {}", file,
                      shorten(*name), info->begin, info->end, shorten(*previous), covered));
    if (info->begin > covered)
      throw DataError(fmt::format("{}: tensor '{}': data_offsets begin at {}: bytes {} to {} belong to no tensor", file,
                                  shorten(*name), info->begin, covered, info->begin));
    covered = info->end;
    previous = name;
  }
  if (covered != data_bytes)
    throw DataError(fmt::format("{}: the tensors end at byte {} of the data, but {} bytes follow the header", file,
                                covered, data_bytes));
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < 8)
    throw DataError(
        fmt::format("{}: got {} bytes, expected at least the 8 of a safetensors header length", name, file.size()));
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<std::uint64_t>(file[static_cast<std::size_t>(i)]);
  if (length > kMaxHeaderBytes)
    throw DataError(fmt::format("{}: byte 0: got a header length of {}, expected at most {}: not a safetensors file?",
                                name, length, kMaxHeaderBytes));
  if (length > file.size() - 8)
    throw DataError(
        fmt::format("{}: truncated: the header needs {} bytes, the file has {}", name, length, file.size() - 8));
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (json.empty() || json.front() != '{')
    throw DataError(fmt::format("{}: byte 8: expected the header to start with '{{'", name));

  SafetensorsHeader header;
  HeaderEvents events(name, header);
  nlohmann::json::sax_parse(json.begin(), json.end(), &events);
  header.data_begin = 8 + static_cast<std::size_t>(length);
  for (const auto& [tensor, info] : header.tensors) check_size(name, tensor, info);
  check_tiling(name, header.tensors, file.size() - header.data_begin);
  return header;
}

}  // namespace galrec::data
