#include "layers/hf_folder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "data/atomic_file.h"
#include "data/safetensors_writer.h"
#include "data/tensor_info.h"

namespace galrec::layers {

namespace {

constexpr std::size_t kMostNamed = 20;

/// Collects what is wrong with a checkpoint and throws once, with all of it.
class Problems {
 public:
  void add(std::string text) { list_.push_back(std::move(text)); }
  void throw_if_any(const std::string& file) const {
    if (list_.empty()) return;
    std::string message =
        fmt::format("{}: {} tensor{} not fit the model:", file, list_.size(), list_.size() == 1 ? " does" : "s do");
    for (std::size_t i = 0; i < std::min(list_.size(), kMostNamed); ++i) message += "\n  " + list_[i];
    if (list_.size() > kMostNamed) message += fmt::format("\n  and {} more", list_.size() - kMostNamed);
    throw DataError(message);
  }

 private:
  std::vector<std::string> list_;
};

/// Parameter -> tensor it is read from; tensors that nobody reads and parameters without a tensor are problems.
template <class T>
std::map<std::string, std::string> match_names(const autograd::ParameterStore<T>& store,
                                               const data::CheckpointReader& checkpoint, const LoadRules& rules) {
  std::map<std::string, std::string> source;
  Problems problems;
  std::set<std::string> known(rules.ignorable.begin(), rules.ignorable.end());
  for (const auto& [alias, name] : rules.aliases) {
    known.insert(alias);
    if (checkpoint.contains(alias)) source.emplace(name, alias);
  }
  const std::set<std::string> optional(rules.allowed_missing.begin(), rules.allowed_missing.end());
  for (const auto& span : store.spans()) {
    known.insert(span.name);
    if (checkpoint.contains(span.name)) source[span.name] = span.name;
    const auto found = source.find(span.name);
    if (found == source.end()) {
      if (!optional.contains(span.name)) {
        problems.add(fmt::format("{}: missing, expected shape {}", span.name, data::shape_text(span.shape)));
      }
      continue;
    }
    const auto& info = checkpoint.info(found->second);
    if (info.shape != span.shape) {
      problems.add(fmt::format("{}: got shape {}, expected {}", found->second, data::shape_text(info.shape),
                               data::shape_text(span.shape)));
    } else if (info.type == data::TensorType::kI32 || info.type == data::TensorType::kI64 ||
               info.type == data::TensorType::kU8) {
      problems.add(
          fmt::format("{}: got type {}, expected a floating-point type", found->second, data::type_name(info.type)));
    }
  }
  for (const auto& [name, info] : checkpoint.tensors()) {
    if (!known.contains(name))
      problems.add(fmt::format("{}: unknown, of shape {}", name, data::shape_text(info.shape)));
  }
  problems.throw_if_any(checkpoint.name());
  return source;
}

template <class T>
std::vector<T> read_values(const data::CheckpointReader& checkpoint, const std::string& tensor) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return checkpoint.read_f64(tensor);
  } else {
    return checkpoint.read_f32(tensor);
  }
}

}  // namespace

template <class T>
void load_parameters(autograd::ParameterStore<T>& store, const data::CheckpointReader& checkpoint,
                     const LoadRules& rules) {
  const auto source = match_names(store, checkpoint, rules);
  Problems problems;
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {
    const auto found = source.find(store.span(id).name);
    if (found == source.end()) continue;
    const auto values = read_values<Acc<T>>(checkpoint, found->second);
    const auto bad = std::find_if(values.begin(), values.end(), [](Acc<T> x) { return !std::isfinite(x); });
    if (bad != values.end()) {
      problems.add(
          fmt::format("{}: element {} is {}, expected a finite number", found->second, bad - values.begin(), *bad));
    }
    store.write(id, values);
  }
  problems.throw_if_any(checkpoint.name());
}

template <class T>
void save_parameters(const std::filesystem::path& file, const autograd::ParameterStore<T>& store,
                     const SaveRules& rules) {
  data::SafetensorsWriter writer;
  std::set<std::string> replaced;
  for (const auto& tensor : rules.extra) {
    replaced.insert(tensor.name);
    writer.add(tensor.name, tensor.shape, std::span<const float>(tensor.values));
  }
  const auto arena = on_host(store.memory(), store.values());
  std::vector<std::vector<float>> converted;  // must live until write(), as must `arena`
  for (const auto& span : store.spans()) {
    if (replaced.contains(span.name) || (rules.include && !rules.include(span.name))) continue;
    const Acc<T>* values = arena->data + span.offset;
    if constexpr (std::is_same_v<Acc<T>, float>) {
      writer.add(span.name, span.shape, std::span<const float>(values, static_cast<std::size_t>(span.size)));
    } else {
      converted.emplace_back(values, values + span.size);
      writer.add(span.name, span.shape, std::span<const float>(converted.back()));
    }
  }
  writer.write(file);
}

template <class T>
void save_hf_folder(const std::filesystem::path& folder, const T5Config& config,
                    const autograd::ParameterStore<T>& store, const SaveRules& rules) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw DataError(fmt::format("{}: cannot be created: {}", folder.string(), error.message()));
  save_parameters(folder / "model.safetensors", store, rules);
  data::write_file(folder / "config.json", config.to_json_text());
  data::write_file(
      folder / "generation_config.json",
      fmt::format("{{\n  \"decoder_start_token_id\": {},\n  \"eos_token_id\": {},\n  \"pad_token_id\": {}\n}}\n",
                  config.decoder_start_token_id, config.eos_token_id, config.pad_token_id));
}

#define INSTANTIATE(T)                                                                                               \
  template void load_parameters(autograd::ParameterStore<T>&, const data::CheckpointReader&, const LoadRules&);      \
  template void save_parameters(const std::filesystem::path&, const autograd::ParameterStore<T>&, const SaveRules&); \
  template void save_hf_folder(const std::filesystem::path&, const T5Config&, const autograd::ParameterStore<T>&,    \
                               const SaveRules&);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::layers
