#pragma once
// The small vocabulary of models that start from random weights: no outside file is needed.

#include <cstdint>
#include <filesystem>

#include "data/dataset.h"
#include "data/prompt_templates.h"

namespace galrec::data {

/// Trains a SentencePiece vocabulary of at most `vocab_size` pieces on the templates' literals and the items' titles and
/// categories, and writes it to `model`. Deterministic. A data set without titles trains on the templates alone.
void train_vocabulary(const Dataset& dataset, const PromptTemplates& templates, std::int32_t vocab_size,
                      const std::filesystem::path& model);

}  // namespace galrec::data
