#include "data/npy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "data/atomic_file.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;

std::string image(const std::string& header, const std::string& data, int version = 1) {
  std::string bytes = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

Matrix parse(const std::string& bytes) {
  return parse_npy(std::as_bytes(std::span(bytes)), "m.npy");
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.begin(), bytes.size());
  return bytes;
}

TEST(Npy, ReadsAllVersionsAndWidths) {
  for (const int version : {1, 2, 3}) {
    const auto single =
        parse(image("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", raw({1.5f, -2.0f}), version));
    EXPECT_EQ(single.rows, 1);
    EXPECT_EQ(single.cols, 2);
    EXPECT_EQ(single.values, (std::vector<float>{1.5f, -2.0f}));
  }
  EXPECT_EQ(parse(image("{'shape':(2,1),'fortran_order':False,'descr':\"<f8\"}", raw({0.5, 4.0}))).values,
            (std::vector<float>{0.5f, 4.0f}));
  EXPECT_EQ(
      parse(image("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 1)}", raw<std::uint16_t>({0x3c00, 0xc000})))
          .values,
      (std::vector<float>{1.0f, -2.0f}));
  EXPECT_EQ(parse(image("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }", "")).rows, 0);
}

TEST(Npy, WritesWhatItReads) {
  test::TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  write_npy(folder / "m.npy", 2, 3, values.data());
  const std::string bytes = read_file(folder / "m.npy");
  EXPECT_EQ((bytes.size() - 24) % 64, 0u);
  EXPECT_EQ(bytes[bytes.size() - 25], '\n');
  const Matrix matrix = parse(bytes);
  EXPECT_EQ(matrix.rows, 2);
  EXPECT_EQ(matrix.cols, 3);
  EXPECT_EQ(matrix.values, values);
}

TEST(Npy, RejectsWhatIsNotAMatrix) {
  const auto rejects = [](const std::string& bytes, std::initializer_list<std::string> parts) {
    expect_error<DataError>([&] { parse(bytes); }, {"m.npy"});
    expect_error<DataError>([&] { parse(bytes); }, parts);
  };
  const auto header = [](const std::string& descr, const std::string& order, const std::string& shape) {
    return image("{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }", "abcdefgh");
  };
  EXPECT_EQ(parse(header("<f4", "False", "(2, 1)")).values.size(), 2u);
  rejects("", {"signature"});
  rejects("\x93NUMPX\x01\0\0\0\0\0", {"signature"});
  rejects(image("", "").substr(0, 10), {"signature"});
  rejects(image("{}", "abcd", 4), {"version 4"});
  rejects(image("{}", "abcd", 0), {"version 0"});
  rejects(std::string("\x93NUMPY\x02\0\xff\xff\xff\xff{}", 14), {"header length of 4294967295"});
  rejects(std::string("\x93NUMPY\x01\0\x10\0{}", 12), {"header length of 16", "at most 2"});
  rejects(header(">f4", "False", "(2, 1)"), {"'>f4'", "'<f4'"});
  rejects(header("<i4", "False", "(2, 1)"), {"'<i4'"});
  rejects(header("|O", "False", "(2, 1)"), {"'|O'"});
  rejects(header("<f4", "True", "(2, 1)"), {"Fortran order"});
  rejects(header("<f4", "Maybe", "(2, 1)"), {"True or False"});
  rejects(header("<f4", "False", "(2,)"), {"1 dimensions"});
  rejects(header("<f4", "False", "()"), {"0 dimensions"});
  rejects(header("<f4", "False", "(1, 1, 2)"), {"3 dimensions"});
  rejects(header("<f4", "False", "(-2, -1)"), {"non-negative"});
  rejects(header("<f4", "False", "(2, 2)"), {"8 bytes", "2 x 2"});
  rejects(header("<f4", "False", "(4294967296, 4294967296)"), {"8 bytes"});
  rejects(header("<f4", "False", "(99999999999999999999, 1)"), {"non-negative integer"});
  rejects(image("{'descr': '<f4', 'descr': '<f4'}", ""), {"repeated key 'descr'"});
  rejects(image("{'descr': '<f4'}", ""), {"expected the keys"});
  rejects(image("{'descr: ", ""), {"does not end"});
  rejects(image("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)} x", "abcd"), {"after the closing brace"});
  rejects(image("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", "abcd"), {"expected ')'"});
}

}  // namespace
}  // namespace galrec::data
