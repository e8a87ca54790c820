#pragma once
// One recorded GAL step, computed again: losses, embeddings, every gradient, queues, parameters and momentum parameters
// after the step, each compared with what the reference recorded. The format is defined by the fixture's script.

#include <filesystem>

#include "kernels/common/context.h"
#include "layers/parity_report.h"

namespace galrec::gal {

/// Whether a folder is a recorded GAL step (it has a step.json).
bool is_gal_parity_folder(const std::filesystem::path& folder);

/// Runs the step of `folder` (config.json, step.json, model.safetensors, batch.safetensors, expected.safetensors).
/// DataError where the folder is not such a fixture, or records a tensor that the step does not have. UsageError for double on
/// CUDA.
layers::ParityReport run_gal_parity(const Device& device, const std::filesystem::path& folder, layers::ParityPrecision precision);

}  // namespace galrec::gal
