#pragma once
// A checkpoint as Hugging Face lays it out: one .safetensors file, or shards with an index.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/safetensors.h"

namespace galrec::data {

/// Reads a .safetensors file, a model.safetensors.index.json, or a folder with `model.safetensors` or the index and its
/// shards. Same reading calls as SafetensorsFile. DataError for a missing file, shard or tensor, for a shard name that
/// leaves the folder, and for a tensor in a shard of which the index does not know.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& path);

  /// The file or index it was opened from.
  const std::string& name() const { return name_; }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  /// Of the single file, or of all shards together (the first shard wins).
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool contains(const std::string& tensor) const { return tensors_.contains(tensor); }
  const TensorInfo& info(const std::string& tensor) const { return file_of(tensor).info(tensor); }

  std::vector<float> read_f32(const std::string& tensor) const { return file_of(tensor).read_f32(tensor); }
  std::vector<double> read_f64(const std::string& tensor) const { return file_of(tensor).read_f64(tensor); }
  std::vector<std::int64_t> read_i64(const std::string& tensor) const { return file_of(tensor).read_i64(tensor); }
  std::span<const std::byte> bytes(const std::string& tensor) const { return file_of(tensor).bytes(tensor); }

 private:
  void add_file(const std::filesystem::path& path);
  void open_index(const std::filesystem::path& index);
  const SafetensorsFile& file_of(const std::string& tensor) const;

  std::string name_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> owner_;  // tensor -> index into files_
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// The weight map of an index file: tensor -> shard file name. DataError where the text is not such an index or a shard
/// name is not a plain file name.
std::map<std::string, std::string> parse_checkpoint_index(const std::string& text, const std::string& name);

}  // namespace galrec::data
