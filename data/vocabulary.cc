#include "data/vocabulary.h"

#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace galrec::data {

void train_vocabulary(const Dataset& dataset, const PromptTemplates& templates, std::int32_t vocab_size,
                      const std::filesystem::path& model) {
  std::vector<std::string> sentences = templates.literals();
  // The literals are a handful among thousands of titles; repeated, their words become whole pieces.
  const std::vector<std::string> literals = sentences;
  for (int repeat = 0; repeat < 100; ++repeat) sentences.insert(sentences.end(), literals.begin(), literals.end());
  for (ItemId i = 0; i < dataset.num_items(); ++i) {
    if (!dataset.item_title(i).empty()) sentences.push_back(dataset.item_title(i));
    if (!dataset.item_categories(i).empty()) sentences.push_back(dataset.item_categories(i));
  }
  Tokenizer::train(sentences, vocab_size, model);
}

}  // namespace galrec::data
