#include "data/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>

#include "data/atomic_file.h"
#include "data/half.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxHeaderBytes = 1 << 16;

struct NpyHeader {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

// The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  NpyHeader parse() {
    NpyHeader header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      bool* seen = key == "descr"           ? &has_descr
                   : key == "fortran_order" ? &has_order
                   : key == "shape"         ? &has_shape
                                            : nullptr;
      if (seen == nullptr || *seen) fail(fmt::format("unknown or repeated key '{}'", key));
      *seen = true;
      if (key == "descr")
        header.descr = string();
      else if (key == "fortran_order")
        header.fortran_order = boolean();
      else
        header.shape = shape();
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (position_ != text_.size()) fail("text after the closing brace");
    if (!has_descr || !has_order || !has_shape) fail("expected the keys descr, fortran_order and shape");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: header character {}: {}", name_, position_, what));
  }
  void skip_space() {
    while (position_ < text_.size() &&
           (text_[position_] == ' ' || text_[position_] == '\n' || text_[position_] == '\t'))
      ++position_;
  }
  bool take(char c) {
    skip_space();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(fmt::format("expected '{}'", c));
  }
  std::string string() {
    skip_space();
    if (position_ == text_.size() || (text_[position_] != '\'' && text_[position_] != '"'))
      fail("expected a quoted string");
    const std::size_t end = text_.find(text_[position_], position_ + 1);
    if (end == std::string_view::npos) fail("the string does not end");
    const std::string value(text_.substr(position_ + 1, end - position_ - 1));
    position_ = end + 1;
    return value;
  }
  bool boolean() {
    skip_space();
    for (const std::string_view word : {"True", "False"})
      if (text_.substr(position_, word.size()) == word) {
        position_ += word.size();
        return word == "True";
      }
    fail("expected True or False");
  }
  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> extents;
    expect('(');
    while (!take(')')) {
      skip_space();
      std::int64_t extent = 0;
      const char* end = text_.data() + text_.size();
      const auto [next, error] = std::from_chars(text_.data() + position_, end, extent);
      if (error != std::errc() || extent < 0) fail("expected a non-negative integer in shape");
      extents.push_back(extent);
      position_ = static_cast<std::size_t>(next - text_.data());
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t position_ = 0;
};

template <class Stored, class Convert>
void convert(std::span<const std::byte> bytes, std::vector<float>& values, Convert&& to_float) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = to_float(stored);
  }
}

}  // namespace

Matrix parse_npy(std::span<const std::byte> file, const std::string& name) {
  static_assert(std::endian::native == std::endian::little);
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.substr(0, kMagic.size()) != kMagic || text.size() < 12)
    throw DataError(fmt::format("{}: byte 0: expected the .npy signature", name));
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(text[at])); };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3)
    throw DataError(fmt::format("{}: byte 6: got .npy version {}, expected 1, 2 or 3", name, version));
  const std::size_t prefix = version == 1 ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMaxHeaderBytes || length > text.size() - prefix)
    throw DataError(fmt::format("{}: byte 8: got a header length of {}, expected at most {}", name, length,
                                std::min(kMaxHeaderBytes, text.size() - prefix)));
  const NpyHeader header = HeaderParser(text.substr(prefix, length), name).parse();

  if (header.fortran_order) throw DataError(fmt::format("{}: got Fortran order, expected C order", name));
  if (header.shape.size() != 2)
    throw DataError(fmt::format("{}: got {} dimensions, expected 2: rows and columns", name, header.shape.size()));
  const std::size_t width = header.descr == "<f4" ? 4 : header.descr == "<f8" ? 8 : header.descr == "<f2" ? 2 : 0;
  if (width == 0)
    throw DataError(fmt::format("{}: got descr '{}', expected '<f2', '<f4' or '<f8'", name, header.descr));

  Matrix matrix{header.shape[0], header.shape[1], {}};
  std::int64_t expected = static_cast<std::int64_t>(width);
  const auto data = file.subspan(prefix + length);
  if (__builtin_mul_overflow(expected, matrix.rows, &expected) ||
      __builtin_mul_overflow(expected, matrix.cols, &expected) || static_cast<std::uint64_t>(expected) != data.size())
    throw DataError(fmt::format("{}: got {} bytes of values, expected {} x {} of {} bytes each", name, data.size(),
                                matrix.rows, matrix.cols, width));
  matrix.values.resize(data.size() / width);
  if (width == 2)
    convert<std::uint16_t>(data, matrix.values, half_to_float);
  else if (width == 4)
    convert<float>(data, matrix.values, [](float v) { return v; });
  else
    convert<double>(data, matrix.values, [](double v) { return static_cast<float>(v); });
  return matrix;
}

void write_npy(const std::filesystem::path& path, std::int64_t rows, std::int64_t cols, const float* values) {
  GALREC_CHECK(rows >= 0 && cols >= 0, "rows {}, cols {}", rows, cols);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  header.append(63 - (kMagic.size() + 4 + header.size()) % 64, ' ');  // the values start at a multiple of 64
  header += '\n';
  AtomicFile file(path);
  file.write(kMagic);
  const unsigned char rest[4] = {1, 0, static_cast<unsigned char>(header.size() & 0xff),
                                 static_cast<unsigned char>(header.size() >> 8)};
  file.write(rest, sizeof rest);
  file.write(header);
  file.write(values, static_cast<std::size_t>(rows * cols) * sizeof(float));
  file.commit();
}

}  // namespace galrec::data
