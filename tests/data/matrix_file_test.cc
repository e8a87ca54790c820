#include "data/matrix_file.h"

#include <gtest/gtest.h>

#include <limits>

#include "data/safetensors_writer.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;
using test::TemporaryFolder;

TEST(MatrixFile, ReadsBothFormats) {
  TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> ids{1, 2};
  write_npy(folder / "m.npy", 3, 2, values.data());
  SafetensorsWriter writer;
  writer.add("text", {3, 2}, values);
  writer.add("bias", {6}, values);
  writer.add("ids", {1, 2}, ids);
  writer.write(folder / "m.safetensors");
  for (const auto& matrix : {read_matrix(folder / "m.npy"), read_matrix(folder / "m.safetensors"),
                             read_matrix(folder / "m.safetensors", "text")}) {
    EXPECT_EQ(matrix.rows, 3);
    EXPECT_EQ(matrix.cols, 2);
    EXPECT_EQ(matrix.values, values);
  }
  expect_error<DataError>([&] { read_matrix(folder / "m.safetensors", "txt"); },
                          {"no tensor 'txt'", "did you mean 'text'"});
  expect_error<DataError>([&] { read_matrix(folder / "m.safetensors", "bias"); },
                          {"'bias'", "shape [6]", "two dimensions"});
  expect_error<DataError>([&] { read_matrix(folder / "m.safetensors", "ids"); }, {"'ids'", "I64"});
  expect_error<DataError>([&] { read_matrix(folder / "m.npy", "text"); }, {"m.npy", "no tensor names"});
  expect_error<DataError>([&] { read_matrix(folder / "m.csv"); }, {"m.csv", ".npy or .safetensors"});
}

TEST(MatrixFile, AsksForANameWhenSeveralFit) {
  TemporaryFolder folder;
  const std::vector<float> values{1, 2};
  SafetensorsWriter writer;
  writer.add("users", {1, 2}, values);
  writer.add("items", {2, 1}, values);
  writer.write(folder / "m.safetensors");
  expect_error<DataError>([&] { read_matrix(folder / "m.safetensors"); }, {"m.safetensors", "got 2 (items, users)"});
}

TEST(MatrixFile, NamesTheFirstValueThatIsNotFinite) {
  TemporaryFolder folder;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(30, 1.0f);
    values[17] = bad;
    values[23] = bad;
    write_npy(folder / "m.npy", 10, 3, values.data());
    SafetensorsWriter writer;
    writer.add("m", {10, 3}, values);
    writer.write(folder / "m.safetensors");
    for (const char* name : {"m.npy", "m.safetensors"})
      expect_error<DataError>([&] { read_matrix(folder / name); }, {name, "row 5, column 2", "finite"});
  }
  SafetensorsWriter writer;  // a double beyond the range of float
  const std::vector<double> huge{1, 1e300};
  writer.add("m", {1, 2}, huge);
  writer.write(folder / "m.safetensors");
  expect_error<DataError>([&] { read_matrix(folder / "m.safetensors"); }, {"row 0, column 1", "inf"});
}

}  // namespace
}  // namespace galrec::data
