#pragma once
// A step's inputs and losses in one safetensors file, for bench/peers/hf_gal_step.py.

#include <filesystem>

#include "data/config.h"
#include "gal/model.h"
#include "gal/session.h"

namespace galrec::apps {

/// Writes the first `samples` prompts of epoch 0 in the joint vocabulary, all parameters (momentum.* equal to them), the
/// external vectors, full random queues, and the losses computed from these without dropout.
void dump_step(const Device& device, gal::Session& session, gal::GalModel<float>& model, const data::Config& config, std::int64_t samples,
               const std::filesystem::path& path);

}  // namespace galrec::apps
