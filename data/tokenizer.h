#pragma once
// T5's tokenizer: SentencePiece plus special tokens.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace galrec::data {

/// A unigram SentencePiece vocabulary with T5's ids (pad 0, </s> 1, unk 2), followed by the 100 sentinels <extra_id_99>
/// to <extra_id_0>. The texts `<pad>`, `</s>`, `<unk>` and `<extra_id_k>` are cut out first and become their tokens;
/// what lies between is encoded on its own, each part as if it began a sentence (as Hugging Face's T5TokenizerFast
/// does). Immutable; calls from several threads are safe.
class Tokenizer {
 public:
  static constexpr std::int32_t kSentinels = 100;

  /// A spiece.model file. DataError where it is none, or its special ids are not T5's.
  static Tokenizer load(const std::filesystem::path& model);

  /// Token ids, without a closing </s>. Bytes that are not UTF-8 become unk.
  std::vector<std::int32_t> encode(std::string_view text) const;
  /// The text of ids; pad and </s> vanish, sentinels stay visible. CheckError for an id outside the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;

  /// Pieces and sentinels: 32,100 for T5.
  std::int32_t vocab_size() const { return pieces_ + kSentinels; }
  static constexpr std::int32_t pad() { return 0; }
  static constexpr std::int32_t eos() { return 1; }
  static constexpr std::int32_t unk() { return 2; }
  /// <extra_id_k>, k in [0, 100).
  std::int32_t sentinel(std::int32_t k) const;

  /// Trains a vocabulary of at most `vocab_size` pieces (fewer where the text has no more) on `sentences` with
  /// SentencePiece's unigram trainer and writes it to `model`, atomically. One thread: the same sentences give the same
  /// bytes. DataError where there is too little text or too small a vocabulary for its characters.
  static void train(std::span<const std::string> sentences, std::int32_t vocab_size,
                    const std::filesystem::path& model);

 private:
  struct Processor;
  explicit Tokenizer(std::shared_ptr<const Processor> processor, std::int32_t pieces);

  std::shared_ptr<const Processor> processor_;
  std::int32_t pieces_ = 0;
};

/// The SentencePiece model of a checkpoint folder: spiece.model, or DataError naming what was looked for.
std::filesystem::path find_spiece(const std::filesystem::path& folder);

}  // namespace galrec::data
