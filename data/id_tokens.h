#pragma once
// Users and items as tokens of the language model, one token each.

#include <cstdint>

namespace galrec::data {

/// The joint vocabulary: text rows [0, T), then users [T, T + U), then items [T + U, T + U + I). Users and items count
/// from 0. T is the number of rows of the text embedding, which may exceed the tokenizer's vocabulary.
class IdTokens {
 public:
  /// T5's padded table: 32,100 tokenizer ids in 32,128 rows. The default of `tokens.text_rows`; 32,100 reuses the pad
  /// rows.
  static constexpr std::int32_t kT5TextRows = 32128;

  IdTokens(std::int32_t text_rows, std::int32_t users, std::int32_t items);

  std::int32_t user_token(std::int32_t user) const;
  std::int32_t item_token(std::int32_t item) const;
  bool is_text(std::int32_t token) const { return token >= 0 && token < text_rows_; }
  bool is_user(std::int32_t token) const { return token >= text_rows_ && token < text_rows_ + users_; }
  bool is_item(std::int32_t token) const { return token >= text_rows_ + users_ && token < vocab_size(); }
  std::int32_t user_of(std::int32_t token) const;
  std::int32_t item_of(std::int32_t token) const;

  std::int32_t text_rows() const { return text_rows_; }
  std::int32_t users() const { return users_; }
  std::int32_t items() const { return items_; }
  std::int32_t vocab_size() const { return text_rows_ + users_ + items_; }

  /// Rows of a text embedding for a tokenizer of `vocab_size`: rounded up to a multiple of 128, as T5 does.
  static std::int32_t padded_text_rows(std::int32_t vocab_size);

 private:
  std::int32_t text_rows_;
  std::int32_t users_;
  std::int32_t items_;
};

}  // namespace galrec::data
