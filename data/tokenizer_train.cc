// Tokenizer::train: SentencePiece's own trainer, set up as T5's vocabulary was.

#include <sentencepiece_trainer.h>

#include <string>
#include <unordered_map>

#include "data/atomic_file.h"
#include "data/tokenizer.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::span<const std::string> sentences) : sentences_(sentences) {}
  bool done() const override { return at_ == sentences_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return sentences_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::span<const std::string> sentences_;
  std::size_t at_ = 0;
};

}  // namespace

void Tokenizer::train(std::span<const std::string> sentences, std::int32_t vocab_size,
                      const std::filesystem::path& model) {
  const std::unordered_map<std::string, std::string> options{
      {"model_type", "unigram"},
      {"vocab_size", std::to_string(vocab_size)},
      {"hard_vocab_limit", "false"},  // little text may not have that many pieces
      {"normalization_rule_name", "nmt_nfkc"},
      {"pad_id", "0"},
      {"eos_id", "1"},
      {"unk_id", "2"},
      {"bos_id", "-1"},
      {"num_threads", "1"},
      {"minloglevel", "2"},
  };
  Sentences iterator(sentences);
  std::string bytes;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &iterator, &bytes);
  if (!status.ok())
    throw DataError(fmt::format("{}: cannot train a vocabulary of {} on {} sentences: {}", model.string(), vocab_size,
                                sentences.size(), status.ToString()));
  write_file(model, bytes);
}

}  // namespace galrec::data
