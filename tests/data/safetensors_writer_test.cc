#include "data/safetensors_writer.h"

#include <gtest/gtest.h>

#include <string>

#include "data/safetensors.h"
#include "kernels/common/check.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

TEST(SafetensorsWriter, RoundTripsEveryType) {
  test::TemporaryFolder folder;
  const std::vector<float> f{1, -2, 3, 4, 5, 6};
  const std::vector<double> d{1e-300};
  const std::vector<bfloat16> b{bfloat16(1.5f), bfloat16(-3.0f)};
  const std::vector<std::uint16_t> h{0x3c00};
  const std::vector<std::int32_t> i{-1, 2};
  const std::vector<std::int64_t> l{INT64_MIN};
  const std::vector<std::uint8_t> u{1, 2, 3};
  SafetensorsWriter writer;
  writer.add("f", {2, 3}, f);
  writer.add("d", {}, d);
  writer.add("b \"quoted\" \xc3\xa9", {2}, b);
  writer.add_f16("h", {1, 1}, h);
  writer.add("i", {2}, i);
  writer.add("l", {1}, l);
  writer.add("u", {3}, u);
  writer.add("empty", {0, 7}, std::span<const float>());
  writer.set_metadata({{"step", "12"}, {"format", "pt"}});
  writer.write(folder / "a.safetensors");

  const auto file = SafetensorsFile::open(folder / "a.safetensors");
  EXPECT_EQ(file.tensors().size(), 8u);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}}));
  EXPECT_EQ(file.read_f32("f"), f);
  EXPECT_EQ(file.info("f").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.read_f64("d"), d);
  EXPECT_EQ(file.read_f32("b \"quoted\" \xc3\xa9"), (std::vector<float>{1.5f, -3.0f}));
  EXPECT_EQ(file.read_f32("h"), (std::vector<float>{1}));
  EXPECT_EQ(file.read_i64("i"), (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(file.read_i64("l"), l);
  EXPECT_EQ(file.read_i64("u"), (std::vector<std::int64_t>{1, 2, 3}));
  for (const auto& [name, info] : file.tensors()) EXPECT_EQ(info.begin % bytes_per_element(info.type), 0u) << name;
}

TEST(SafetensorsWriter, BytesAreFixed) {
  test::TemporaryFolder folder;
  const std::vector<float> x{1}, y{2};
  const std::vector<std::uint8_t> z{7};
  SafetensorsWriter one, two;
  one.add("a", {1}, z);
  one.add("x", {1}, x);
  one.add("b", {1, 1}, y);
  two.add("b", {1, 1}, y);
  two.add("a", {1}, z);
  two.add("x", {1}, x);
  one.write(folder / "1");
  two.write(folder / "2");
  const std::string bytes = read_file(folder / "1");
  EXPECT_EQ(bytes, read_file(folder / "2"));
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},)"
      R"("x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})";
  EXPECT_EQ(bytes.substr(8, header.size()), header);
  EXPECT_EQ((bytes.size() - 9) % 8, 0u);
  EXPECT_EQ(bytes.substr(bytes.size() - 9), std::string("\0\0\0\x40\0\0\x80\x3f\x07", 9));
}

TEST(SafetensorsWriter, WritesIntoAFileThatIsCommittedLater) {
  test::TemporaryFolder folder;
  const std::vector<float> x{1};
  SafetensorsWriter writer;
  writer.add("x", {1}, x);
  {
    AtomicFile file(folder / "a");
    writer.write(file);
  }
  EXPECT_TRUE(folder.names().empty());
}

TEST(SafetensorsWriter, RefusesWhatDoesNotFit) {
  SafetensorsWriter writer;
  const std::vector<float> x{1, 2};
  writer.add("x", {2}, x);
  EXPECT_THROW(writer.add("x", {2}, x), CheckError);
  EXPECT_THROW(writer.add("y", {3}, x), CheckError);
  EXPECT_THROW(writer.add("y", {-2}, x), CheckError);
  EXPECT_THROW(writer.add("__metadata__", {2}, x), CheckError);
  EXPECT_THROW(writer.add("y", {std::int64_t{1} << 32, std::int64_t{1} << 32}, x), CheckError);
}

}  // namespace
}  // namespace galrec::data
