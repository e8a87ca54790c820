#include "data/checkpoint_reader.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "data/atomic_file.h"
#include "data/message_text.h"
#include "data/nearest_name.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\") == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace

std::map<std::string, std::string> parse_checkpoint_index(const std::string& text, const std::string& name) {
  using nlohmann::json;
  constexpr int kDeepest = 16;
  std::set<std::string> seen;
  // The document would keep the last of two equal keys; the events see both.
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kDeepest) throw DataError(fmt::format("{}: nested deeper than {}: not an index", name, kDeepest));
    if (event == json::parse_event_t::key && depth == 1) seen.clear();
    if (event == json::parse_event_t::key && depth == 2 && !seen.insert(parsed.get<std::string>()).second)
      throw DataError(fmt::format("{}: '{}' occurs twice", name, shorten(parsed.get<std::string>())));
    return true;
  };
  json document;
  try {
    document = json::parse(text, watch);
  } catch (const json::parse_error& error) {
    throw DataError(fmt::format("{}: byte {}: not JSON: {}", name, error.byte, shorten(error.what())));
  } catch (const json::out_of_range& error) {  // a number beyond double
    throw DataError(fmt::format("{}: a number out of range: {}", name, shorten(error.what())));
  }
  const auto weights = document.is_object() ? document.find("weight_map") : document.end();
  if (!document.is_object() || weights == document.end() || !weights->is_object())
    throw DataError(fmt::format("{}: expected an object with 'weight_map', from tensor to shard file", name));
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : weights->items()) {
    if (!shard.is_string())
      throw DataError(
          fmt::format("{}: weight_map['{}']: got {}, expected a file name", name, shorten(tensor), shard.type_name()));
    const auto file = shard.get<std::string>();
    if (!plain_file_name(file))
      throw DataError(fmt::format("{}: weight_map['{}']: got '{}', expected a file name without path separators", name,
                                  shorten(tensor), shorten(file)));
    shards.emplace(tensor, file);
  }
  return shards;
}

CheckpointReader::CheckpointReader(const std::filesystem::path& path) : name_(path.string()) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    if (fs::exists(path / kSingle, error)) {
      add_file(path / kSingle);
    } else if (fs::exists(path / kIndex, error)) {
      open_index(path / kIndex);
    } else {
      throw DataError(fmt::format("{}: expected {} or {} in the folder", name_, kSingle, kIndex));
    }
  } else if (path.extension() == ".json") {
    open_index(path);
  } else {
    add_file(path);
  }
}

void CheckpointReader::add_file(const std::filesystem::path& path) {
  files_.push_back(SafetensorsFile::open(path));
  const SafetensorsFile& file = files_.back();
  name_ = files_.size() == 1 ? file.name() : name_;
  for (const auto& [tensor, info] : file.tensors()) {
    if (!tensors_.emplace(tensor, info).second)
      throw DataError(
          fmt::format("{}: tensor '{}' is also in {}", file.name(), tensor, files_.at(owner_.at(tensor)).name()));
    owner_.emplace(tensor, files_.size() - 1);
  }
  for (const auto& entry : file.metadata()) metadata_.insert(entry);
}

void CheckpointReader::open_index(const std::filesystem::path& index) {
  const auto shard_of = parse_checkpoint_index(read_file(index), index.string());
  std::map<std::string, std::string> first_tensor;  // shard -> a tensor that needs it
  for (const auto& [tensor, shard] : shard_of) first_tensor.emplace(shard, tensor);
  for (const auto& [shard, tensor] : first_tensor) {
    const auto path = index.parent_path() / shard;
    std::error_code error;
    if (!std::filesystem::exists(path, error))
      throw DataError(fmt::format("{}: shard '{}' (with tensor '{}') is missing", index.string(), shard, tensor));
    add_file(path);
    for (const auto& [name, info] : files_.back().tensors()) {
      const auto claimed = shard_of.find(name);
      if (claimed == shard_of.end() || claimed->second != shard)
        throw DataError(
            fmt::format("{}: tensor '{}' is not in the weight_map of {}", path.string(), name, index.string()));
    }
  }
  for (const auto& [tensor, shard] : shard_of)
    if (!tensors_.contains(tensor))
      throw DataError(fmt::format("{}: tensor '{}' is missing from shard '{}'", index.string(), tensor, shard));
  name_ = index.string();
}

const SafetensorsFile& CheckpointReader::file_of(const std::string& tensor) const {
  const auto found = owner_.find(tensor);
  if (found != owner_.end()) return files_[found->second];
  std::vector<std::string> names;
  for (const auto& [name, info] : tensors_) names.push_back(name);
  throw DataError(fmt::format("{}: no tensor '{}'{}", name_, tensor, did_you_mean(tensor, names)));
}

}  // namespace galrec::data
