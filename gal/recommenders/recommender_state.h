#pragma once
// What a recommender's checkpoint holds: model.safetensors (parameters) and optimizer.safetensors (Adam moments, steps).

#include <filesystem>

#include "autograd/optimizer.h"
#include "autograd/parameter_store.h"
#include "data/safetensors.h"

namespace galrec::gal {

void save_recommender_state(const std::filesystem::path& folder, const autograd::ParameterStore<float>& store,
                            const autograd::AdamW<float>& optimizer);

/// DataError naming the tensor that is unknown, missing or misshapen. A folder without optimizer.safetensors (an exported
/// or foreign model) loads the parameters alone.
void load_recommender_state(const std::filesystem::path& folder, autograd::ParameterStore<float>& store,
                            autograd::AdamW<float>& optimizer);

/// The parameters alone, from any file with exactly these names.
void load_recommender_parameters(const data::SafetensorsFile& file, autograd::ParameterStore<float>& store);

}  // namespace galrec::gal
