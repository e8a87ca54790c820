#pragma once
// Small data sets, templates and embeddings for the tests of graph-aware learning.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/prompt_templates.h"
#include "data/split.h"
#include "data/tokenizer.h"
#include "gal/external_embeddings.h"
#include "kernels/common/philox.h"
#include "tests/support/temporary_folder.h"

namespace galrec::test {

/// A data set of these sequences (items count from 0).
inline data::Dataset make_dataset(const std::vector<std::vector<data::ItemId>>& sequences, std::int32_t items) {
  data::DatasetParts parts;
  parts.name = "small";
  parts.num_items = items;
  for (const auto& s : sequences) {
    parts.items.insert(parts.items.end(), s.begin(), s.end());
    parts.offsets.push_back(static_cast<std::int64_t>(parts.items.size()));
  }
  return data::Dataset(std::move(parts));
}

/// Users of 3 to `longest` distinct items, drawn from `items`.
inline data::Dataset random_dataset(std::int32_t users, std::int32_t items, std::int32_t longest, std::uint64_t seed) {
  PhiloxStream stream({.seed = seed, .step = 0, .stream = 0x77});
  std::vector<std::vector<data::ItemId>> sequences;
  for (std::int32_t u = 0; u < users; ++u) {
    std::vector<data::ItemId> s;
    const std::size_t length = 3 + stream.below(static_cast<std::uint64_t>(longest - 2));
    while (s.size() < length) {
      const auto item = static_cast<data::ItemId>(stream.below(static_cast<std::uint64_t>(items)));
      if (std::find(s.begin(), s.end(), item) == s.end()) s.push_back(item);
    }
    sequences.push_back(std::move(s));
  }
  return make_dataset(sequences, items);
}

/// The default templates under a vocabulary trained on them.
inline const data::CompiledTemplates& default_templates() {
  static const data::CompiledTemplates templates = [] {
    const TemporaryFolder folder;
    auto sentences = data::PromptTemplates::defaults().literals();
    for (int copies = 0; copies < 3; ++copies) sentences.push_back("users and items that were seen next to each other");
    data::Tokenizer::train(sentences, 200, folder / "spiece.model");
    return data::PromptTemplates::defaults().compile(data::Tokenizer::load(folder / "spiece.model"));
  }();
  return templates;
}

/// Text rows that hold every token of default_templates().
inline constexpr std::int32_t kTextRows = 384;

/// Normal vectors of users and items under a kind that needs no model.
inline gal::ExternalEmbeddings random_external(const data::Split& split, std::int64_t dim, std::uint64_t seed = 5) {
  return gal::ExternalEmbeddings::random(split, dim, seed);
}

/// All training samples of a split, in order.
template <class Sample>
std::vector<Sample> all_prefixes(const data::Split& split) {
  std::vector<Sample> out;
  for (data::UserId u = 0; u < split.dataset().num_users(); ++u) {
    for (std::int32_t cut = 1; cut < static_cast<std::int32_t>(split.train(u).size()); ++cut) out.push_back({u, cut});
  }
  return out;
}

}  // namespace galrec::test
