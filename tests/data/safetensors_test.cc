#include "data/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "data/atomic_file.h"
#include "data/half.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;

// A file as bytes: length, header, data.
std::string image(const std::string& header, const std::string& data = "") {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> (8 * i));
  return bytes + header + data;
}

SafetensorsFile open(const std::string& bytes) {
  return SafetensorsFile::from_bytes(std::as_bytes(std::span(bytes)), "x.safetensors");
}

void rejects(const std::string& bytes, std::initializer_list<std::string> parts) {
  expect_error<DataError>([&] { open(bytes); }, {"x.safetensors"});
  expect_error<DataError>([&] { open(bytes); }, parts);
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.begin(), bytes.size());
  return bytes;
}

TEST(Safetensors, ReadsEveryType) {
  const std::string data = raw({1.5, -2.0}) + raw<std::int64_t>({-7, INT64_MAX}) + raw({0.25f}) +
                           raw<std::int32_t>({-3, 4}) + raw<std::uint16_t>({0x3c00, 0xc000, 0x0001}) +
                           raw<std::uint16_t>({0x3fc0}) + raw<std::uint8_t>({9, 255});
  const std::string bytes = image(
      R"({"__metadata__":{"format":"pt","n":"1"},"d":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},)"
      R"("l":{"dtype":"I64","shape":[2,1],"data_offsets":[16,32]},"f":{"dtype":"F32","shape":[],"data_offsets":[32,36]},)"
      R"("i":{"dtype":"I32","shape":[2],"data_offsets":[36,44]},"h":{"dtype":"F16","shape":[3],"data_offsets":[44,50]},)"
      R"("b":{"dtype":"BF16","shape":[1,1],"data_offsets":[50,52]},"u":{"shape":[2],"dtype":"U8","data_offsets":[52,54]},)"
      R"("none":{"dtype":"F32","shape":[0,5],"data_offsets":[54,54]}}   )",
      data);
  const auto file = open(bytes);
  EXPECT_EQ(file.tensors().size(), 8u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.read_f64("d"), (std::vector<double>{1.5, -2.0}));
  EXPECT_EQ(file.read_f32("d"), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(file.read_i64("l"), (std::vector<std::int64_t>{-7, INT64_MAX}));
  EXPECT_EQ(file.read_f32("f"), (std::vector<float>{0.25f}));
  EXPECT_EQ(file.read_i64("i"), (std::vector<std::int64_t>{-3, 4}));
  EXPECT_EQ(file.read_f32("h"), (std::vector<float>{1.0f, -2.0f, 0x1p-24f}));
  EXPECT_EQ(file.read_f32("b"), (std::vector<float>{1.5f}));
  EXPECT_EQ(file.read_i64("u"), (std::vector<std::int64_t>{9, 255}));
  EXPECT_TRUE(file.read_f32("none").empty());
  EXPECT_EQ(file.info("l").shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(file.bytes("u").size(), 2u);
  EXPECT_TRUE(file.contains("u"));
  EXPECT_FALSE(file.contains("v"));
  expect_error<DataError>([&] { file.read_f32("i"); }, {"'i'", "got I32", "floating point"});
  expect_error<DataError>([&] { file.read_i64("f"); }, {"'f'", "got F32", "integers"});
  expect_error<DataError>([&] { file.read_f32("nona"); }, {"no tensor 'nona'", "did you mean 'none'"});
}

TEST(Safetensors, HalfIsExactForEveryPattern) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const int exponent = static_cast<int>(bits >> 10 & 31), mantissa = static_cast<int>(bits & 1023);
    const double sign = bits & 0x8000 ? -1 : 1;
    const float value = half_to_float(half);
    if (exponent == 31) {
      EXPECT_TRUE(mantissa != 0 ? std::isnan(value) : std::isinf(value) && std::signbit(value) == (sign < 0));
    } else {
      EXPECT_EQ(value, sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25)));
    }
  }
  EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
}

TEST(Safetensors, RejectsBrokenFrames) {
  rejects("", {"0 bytes"});
  rejects("1234567", {"7 bytes"});
  rejects(image("{}").substr(0, 9), {"truncated", "needs 2 bytes"});
  rejects(std::string(8, '\0'), {"byte 8", "'{'"});
  rejects(image(" {}"), {"byte 8", "'{'"});
  rejects(image("[]"), {"byte 8", "'{'"});
  rejects(std::string(8, '\xff') + "{}", {"header length of 18446744073709551615", "at most 100000000"});
  rejects(std::string("\x01\xe1\xf5\x05\0\0\0\0", 8) + "{}", {"header length of 100000001"});  // one beyond the limit
  rejects(image("{"), {"byte 9", "JSON"});
  rejects(image("{} x"), {"JSON"});
  rejects(image("{\"\xff\":1}"), {"JSON"});
  rejects(image("{}", "stray"), {"end at byte 0", "5 bytes follow"});
}

TEST(Safetensors, RejectsHostileTensors) {
  const auto one = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return "{\"w\":{\"dtype\":" + type + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  const std::string four(4, 'x'), f32 = "\"F32\"";
  EXPECT_EQ(open(image(one(f32, "[1]", "[0,4]"), four)).read_f32("w").size(), 1u);
  rejects(image(one("\"F33\"", "[1]", "[0,4]"), four), {"'w'", "unknown dtype 'F33'"});
  rejects(image(one("3", "[1]", "[0,4]"), four), {"'w'", "got 3", "dtype"});
  rejects(image(one(f32, "[-1]", "[0,4]"), four), {"'w'", "got -1", "non-negative integer in shape"});
  rejects(image(one(f32, "[1.0]", "[0,4]"), four), {"'w'", "got 1.0", "shape"});
  rejects(image(one(f32, "[[1]]", "[0,4]"), four), {"'w'", "an array", "shape"});
  rejects(image(one(f32, "1", "[0,4]"), four), {"'w'", "got 1"});
  rejects(image(one(f32, "null", "[0,4]"), four), {"'w'", "got null"});
  rejects(image(one(f32, "[2]", "[0,4]"), four), {"'w'", "hold 4 bytes, expected 8 for F32 [2]"});
  rejects(image(one(f32, "[4294967296,4294967296]", "[0,4]"), four), {"'w'", "overflows"});
  rejects(image(one(f32, "[4611686018427387904]", "[0,0]"), ""), {"'w'", "overflows"});  // 4 * 2^62 = 0 mod 2^64
  rejects(image(one(f32, "[18446744073709551615]", "[0,4]"), four), {"'w'", "too large"});
  rejects(image(one(f32, "[99999999999999999999]", "[0,4]"), four), {"'w'"});
  rejects(image(one(f32, "[1]", "[4,0]"), four), {"'w'", "end before they begin"});
  rejects(image(one(f32, "[1]", "[0,-4]"), four), {"'w'", "got -4", "data_offsets"});
  rejects(image(one(f32, "[2]", "[0,8]"), four), {"'w'", "outside the file", "4 bytes follow"});
  rejects(image(one(f32, "[1]", "[18446744073709551612,18446744073709551616]"), four), {"'w'"});
  rejects(image(one("\"U8\"", "[3]", "[1,4]"), four), {"'w'", "bytes 0 to 1 belong to no tensor"});
  rejects(image(one(f32, "[1]", "[0,4,8]"), four), {"'w'", "more than two"});
  rejects(image(one(f32, "[1]", "[0]"), four), {"'w'", "expected two numbers"});
  rejects(image(R"({"w":{"dtype":"F32","shape":[1]}})", four), {"'w'", "dtype, shape and data_offsets"});
  rejects(image(R"({"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
          {"'w'", "'dtype' occurs twice"});
  rejects(image(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", four), {"'w'", "unknown field 'x'"});
  rejects(image(R"({"w":1})"), {"'w'", "got 1", "an object"});
}

TEST(Safetensors, RejectsWhatTensorsDoTogether) {
  const std::string w = R"("w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]})";
  rejects(image("{" + w + "," + w + "}", "abc"), {"'w'", "occurs twice"});
  rejects(image("{" + w + R"(,"v":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", "abcd"),
          {"'v'", "overlap", "'w'"});
  rejects(image("{" + w + R"(,"v":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})", "abcde"),
          {"'v'", "bytes 3 to 4"});
  rejects(image("{" + w + "}", "abcd"), {"end at byte 3", "4 bytes follow"});
}

TEST(Safetensors, RejectsHostileMetadata) {
  rejects(image(R"({"__metadata__":{"a":1}})"), {"__metadata__", "got 1", "a string"});
  rejects(image(R"({"__metadata__":"a"})"), {"__metadata__"});
  rejects(image(R"({"__metadata__":{"a":{}}})"), {"__metadata__", "an object"});
  rejects(image(R"({"__metadata__":{"a":"1","a":"2"}})"), {"__metadata__", "'a' occurs twice"});
  rejects(image(R"({"__metadata__":{},"__metadata__":{}})"), {"__metadata__", "twice"});
}

TEST(Safetensors, DeepNestingDoesNotReachTheStack) {
  std::string deep = R"({"w":)";
  for (int i = 0; i < 1'000'000; ++i) deep += R"({"a":)";
  rejects(image(deep), {"'w'"});
  rejects(image(R"({"w":{"shape":)" + std::string(1'000'000, '[')), {"'w'", "an array"});
}

TEST(Safetensors, LongNamesAreCutInMessages) {
  const std::string name(1 << 20, 'n');
  try {
    open(image("{\"" + name + "\":1}"));
    FAIL();
  } catch (const DataError& error) {
    EXPECT_LT(std::string(error.what()).size(), 400u);
  }
}

TEST(Safetensors, OpensFilesByMapping) {
  test::TemporaryFolder folder;
  const std::string bytes = image(R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "abc");
  write_file(folder / "w.safetensors", bytes);
  SafetensorsFile file = SafetensorsFile::open(folder / "w.safetensors");
  const SafetensorsFile moved = std::move(file);
  EXPECT_EQ(moved.read_i64("w"), (std::vector<std::int64_t>{'a', 'b', 'c'}));
  expect_error<DataError>([&] { SafetensorsFile::open(folder / "absent"); }, {"absent", "No such file"});
  expect_error<DataError>([&] { SafetensorsFile::open(folder.path()); }, {"not a regular file"});
  write_file(folder / "empty", "");
  expect_error<DataError>([&] { SafetensorsFile::open(folder / "empty"); }, {"empty", "got 0 bytes"});
}

}  // namespace
}  // namespace galrec::data
