#include "data/checkpoint_reader.h"

#include <gtest/gtest.h>

#include "data/safetensors_writer.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;
using test::TemporaryFolder;

void write_tensors(const std::filesystem::path& path,
                   const std::vector<std::pair<std::string, std::vector<float>>>& tensors) {
  SafetensorsWriter writer;
  for (const auto& [name, values] : tensors) writer.add(name, {static_cast<std::int64_t>(values.size())}, values);
  writer.write(path);
}

constexpr const char* kIndex = "model.safetensors.index.json";

TEST(CheckpointReader, ReadsASingleFileOrItsFolder) {
  TemporaryFolder folder;
  write_tensors(folder / "model.safetensors", {{"a", {1, 2}}, {"b", {3}}});
  for (const auto& path : {folder.path(), folder / "model.safetensors"}) {
    const CheckpointReader reader(path);
    EXPECT_EQ(reader.tensors().size(), 2u);
    EXPECT_EQ(reader.read_f32("a"), (std::vector<float>{1, 2}));
    EXPECT_EQ(reader.info("b").shape, (std::vector<std::int64_t>{1}));
    EXPECT_EQ(reader.metadata().at("format"), "pt");
    expect_error<DataError>([&] { reader.read_f32("c"); }, {"model.safetensors", "no tensor 'c'"});
  }
}

TEST(CheckpointReader, ReadsShards) {
  TemporaryFolder folder;
  write_tensors(folder / "m-00001-of-00002.safetensors", {{"a", {1, 2}}, {"c", {5}}});
  write_tensors(folder / "m-00002-of-00002.safetensors", {{"b", {3}}});
  write_file(folder / kIndex, R"({"metadata":{"total_size":16},"weight_map":{"a":"m-00001-of-00002.safetensors",
    "b":"m-00002-of-00002.safetensors","c":"m-00001-of-00002.safetensors"}})");
  for (const auto& path : {folder.path(), folder / kIndex}) {
    const CheckpointReader reader(path);
    EXPECT_EQ(reader.tensors().size(), 3u);
    EXPECT_EQ(reader.read_f32("c"), (std::vector<float>{5}));
    EXPECT_EQ(reader.read_f64("b"), (std::vector<double>{3}));
    EXPECT_EQ(reader.bytes("a").size(), 8u);
  }
}

TEST(CheckpointReader, NamesTheMissing) {
  TemporaryFolder folder;
  expect_error<DataError>([&] { CheckpointReader{folder.path()}; },
                          {folder.path().string(), "model.safetensors", kIndex});
  expect_error<DataError>([&] { CheckpointReader{folder / "none"}; }, {"none", "No such file"});
  write_file(folder / kIndex, R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  write_tensors(folder / "one.safetensors", {{"a", {1}}});
  expect_error<DataError>([&] { CheckpointReader{folder.path()}; },
                          {kIndex, "shard 'two.safetensors'", "tensor 'b'", "missing"});
  write_tensors(folder / "two.safetensors", {});
  expect_error<DataError>([&] { CheckpointReader{folder.path()}; },
                          {kIndex, "tensor 'b' is missing from shard 'two.safetensors'"});
  write_tensors(folder / "two.safetensors", {{"b", {1}}, {"x", {1}}});
  expect_error<DataError>([&] { CheckpointReader{folder.path()}; },
                          {"two.safetensors", "tensor 'x' is not in the weight_map"});
  write_tensors(folder / "two.safetensors", {{"a", {1}}, {"b", {1}}});
  expect_error<DataError>([&] { CheckpointReader{folder.path()}; },
                          {"two.safetensors", "tensor 'a'", "one.safetensors"});
}

TEST(CheckpointReader, RejectsHostileIndexes) {
  const auto rejects = [](const std::string& text, std::initializer_list<std::string> parts) {
    expect_error<DataError>([&] { parse_checkpoint_index(text, "index.json"); }, parts);
  };
  for (const std::string shard : {"../x.safetensors", "/etc/passwd", "a/b", "a\\\\b", "..", "", "a\\u0000b"})
    rejects("{\"weight_map\":{\"w\":\"" + shard + "\"}}", {"index.json", "weight_map['w']", "path separators"});
  rejects("", {"index.json", "not JSON"});
  rejects("[]", {"expected an object with 'weight_map'"});
  rejects("{}", {"expected an object with 'weight_map'"});
  rejects(R"({"weight_map":[]})", {"expected an object with 'weight_map'"});
  rejects(R"({"weight_map":{"w":3}})", {"weight_map['w']", "got number"});
  rejects(R"({"weight_map":{"w":"a","w":"b"}})", {"'w' occurs twice"});
  rejects("[42e4557002]", {"index.json", "a number out of range"});
  rejects("{\"a\":" + std::string(100000, '['), {"nested deeper"});
}

}  // namespace
}  // namespace galrec::data
