#pragma once
// A T5 checkpoint against what Hugging Face recorded for it.

#include <filesystem>

#include "kernels/common/context.h"
#include "layers/parity_report.h"

namespace galrec::layers {

/// Runs `folder` (config.json, model.safetensors) on its batch.safetensors (input_ids and attention_mask (B,S), labels
/// (B,T) with -100 for none) and compares every tensor of expected.safetensors: encoder_last_hidden_state, logits,
/// loss, grad.*, grad_norm, and, after as many steps as adamw.loss has entries (clip 1, AdamW lr 1e-2, betas .9/.999,
/// eps 1e-8, decay .01 on matrices), adamw.*. A recorded tensor of any other name is a DataError. The rule of
/// judgement: layers/parity_judge.h. UsageError for double on CUDA.
ParityReport run_t5_parity(const Device& device, const std::filesystem::path& folder, ParityPrecision precision);

}  // namespace galrec::layers
