#pragma once
// Parameters from and to checkpoints in Hugging Face layout. Names are those of the store: nothing is renamed.

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autograd/parameter_store.h"
#include "data/checkpoint_reader.h"
#include "layers/t5/config.h"

namespace galrec::layers {

struct LoadRules {
  /// (name in the file, parameter): read where the parameter's own name is absent, ignored where it is there.
  std::vector<std::pair<std::string, std::string>> aliases;
  /// Tensors that may be in the file and are not read.
  std::vector<std::string> ignorable;
  /// Parameters that may be absent from the file: they keep their values.
  std::vector<std::string> allowed_missing;
};

/// Copies every parameter from the checkpoint (F32, F16, BF16, F64). DataError naming all tensors (at most 20) that are
/// unknown, missing, of the wrong shape or not finite; then nothing was changed, except by values that are not finite.
template <class T>
void load_parameters(autograd::ParameterStore<T>& store, const data::CheckpointReader& checkpoint,
                     const LoadRules& rules = {});

/// A tensor for the exported file, besides or instead of the store's of that name.
struct ExtraTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

struct SaveRules {
  /// Which parameters are written; empty: all.
  std::function<bool(const std::string&)> include;
  std::vector<ExtraTensor> extra;
};

/// Parameters as fp32 into one safetensors file, atomically.
template <class T>
void save_parameters(const std::filesystem::path& file, const autograd::ParameterStore<T>& store,
                     const SaveRules& rules = {});

/// A folder that transformers' T5ForConditionalGeneration.from_pretrained loads: config.json, generation_config.json,
/// model.safetensors. Creates the folder.
template <class T>
void save_hf_folder(const std::filesystem::path& folder, const T5Config& config,
                    const autograd::ParameterStore<T>& store, const SaveRules& rules = {});

}  // namespace galrec::layers
