#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include <optional>
#include <utility>

#include "data/atomic_file.h"
#include "kernels/common/check.h"

namespace galrec::data {

struct Tokenizer::Processor {
  sentencepiece::SentencePieceProcessor pieces;
};

namespace {

struct Special {
  std::size_t begin, end;
  std::int32_t id;
};

// The text of the special token that starts at text[at] == '<', if one does.
std::optional<Special> special_at(std::string_view text, std::size_t at, std::int32_t vocab_size) {
  struct Fixed {
    std::string_view text;
    std::int32_t id;
  };
  constexpr Fixed kFixed[] = {{"<pad>", Tokenizer::pad()}, {"</s>", Tokenizer::eos()}, {"<unk>", Tokenizer::unk()}};
  const std::string_view rest = text.substr(at);
  for (const Fixed& fixed : kFixed)
    if (rest.starts_with(fixed.text)) return Special{at, at + fixed.text.size(), fixed.id};
  constexpr std::string_view kSentinel = "<extra_id_";
  if (!rest.starts_with(kSentinel)) return std::nullopt;
  std::size_t end = kSentinel.size();
  std::int32_t k = 0;
  while (end < rest.size() && rest[end] >= '0' && rest[end] <= '9' && end < kSentinel.size() + 2)
    k = 10 * k + (rest[end++] - '0');
  const std::size_t digits = end - kSentinel.size();
  const bool canonical = digits == 1 || (digits == 2 && k >= 10);  // <extra_id_07> is plain text
  if (!canonical || end == rest.size() || rest[end] != '>') return std::nullopt;
  return Special{at, at + end + 1, vocab_size - 1 - k};
}

std::optional<Special> next_special(std::string_view text, std::size_t from, std::int32_t vocab_size) {
  for (std::size_t at = text.find('<', from); at != std::string_view::npos; at = text.find('<', at + 1))
    if (const auto special = special_at(text, at, vocab_size)) return special;
  return std::nullopt;
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Processor> processor, std::int32_t pieces)
    : processor_(std::move(processor)), pieces_(pieces) {}

Tokenizer Tokenizer::load(const std::filesystem::path& model) {
  const std::string bytes = read_file(model);
  auto processor = std::make_shared<Processor>();
  const auto status = processor->pieces.LoadFromSerializedProto(bytes);
  if (!status.ok())
    throw DataError(fmt::format("{}: not a SentencePiece model: {}", model.string(), status.ToString()));
  const auto& pieces = processor->pieces;
  if (pieces.pad_id() != pad() || pieces.eos_id() != eos() || pieces.unk_id() != unk())
    throw DataError(fmt::format("{}: got pad {}, </s> {}, unk {}; expected T5's 0, 1, 2", model.string(),
                                pieces.pad_id(), pieces.eos_id(), pieces.unk_id()));
  const std::int32_t size = pieces.GetPieceSize();
  return Tokenizer(std::move(processor), size);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  const auto append = [&](std::string_view part) {
    std::vector<int> encoded;
    const auto status = processor_->pieces.Encode(part, &encoded);
    GALREC_CHECK(status.ok(), "SentencePiece: {}", status.ToString());
    ids.insert(ids.end(), encoded.begin(), encoded.end());
  };
  std::size_t done = 0;
  while (const auto special = next_special(text, done, vocab_size())) {
    append(text.substr(done, special->begin - done));
    ids.push_back(special->id);
    done = special->end;
  }
  append(text.substr(done));
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  std::vector<int> run;
  const auto flush = [&] {
    if (run.empty()) return;
    std::string part;
    const auto status = processor_->pieces.Decode(run, &part);
    GALREC_CHECK(status.ok(), "SentencePiece: {}", status.ToString());
    if (!text.empty() && !part.empty()) text += ' ';
    text += part;
    run.clear();
  };
  for (const std::int32_t id : ids) {
    GALREC_CHECK(id >= 0 && id < vocab_size(), "token {} of a vocabulary of {}", id, vocab_size());
    if (id < pieces_) {
      run.push_back(id);
      continue;
    }
    flush();
    text += fmt::format("{}<extra_id_{}>", text.empty() ? "" : " ", vocab_size() - 1 - id);
  }
  flush();
  return text;
}

std::int32_t Tokenizer::sentinel(std::int32_t k) const {
  GALREC_CHECK(k >= 0 && k < kSentinels, "sentinel {}", k);
  return vocab_size() - 1 - k;
}

std::filesystem::path find_spiece(const std::filesystem::path& folder) {
  const auto path = folder / "spiece.model";
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw DataError(
        fmt::format("{}: expected the SentencePiece vocabulary spiece.model in the folder", folder.string()));
  return path;
}

}  // namespace galrec::data
