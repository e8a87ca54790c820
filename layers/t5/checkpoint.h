#pragma once
// Hugging Face T5 folders: config.json and model.safetensors (or shards).

#include <filesystem>

#include "autograd/parameter_store.h"
#include "data/checkpoint_reader.h"
#include "layers/hf_folder.h"
#include "layers/t5/config.h"

namespace galrec::layers {

struct T5Folder {
  T5Config config;
  data::CheckpointReader checkpoint;
};

/// Reads config.json and the checkpoint's table, settles `tied_head` by the presence of lm_head.weight, and checks the
/// configuration (heads, widths, layers, feed-forward) against the tensors. DataError naming key and tensor where they
/// disagree.
T5Folder open_t5_folder(const std::filesystem::path& folder);

/// The names that T5 checkpoints use for the same thing, and what may be ignored.
LoadRules t5_load_rules(const data::CheckpointReader& checkpoint);

/// Loads all parameters of `store` (a T5Model's) from an opened folder.
template <class T>
void load_t5(autograd::ParameterStore<T>& store, const T5Folder& folder);

/// Random weights as transformers draws them (T5PreTrainedModel._init_weights), for every T5 parameter of the store;
/// parameters of other names are left alone.
template <class T>
void init_t5(autograd::ParameterStore<T>& store, const T5Config& config, std::uint64_t seed);

}  // namespace galrec::layers
