#include "data/id_tokens.h"

#include <limits>

#include "kernels/common/check.h"

namespace galrec::data {

IdTokens::IdTokens(std::int32_t text_rows, std::int32_t users, std::int32_t items)
    : text_rows_(text_rows), users_(users), items_(items) {
  GALREC_CHECK(text_rows >= 0 && users >= 0 && items >= 0, "text_rows {}, users {}, items {}", text_rows, users, items);
  const std::int64_t total = std::int64_t{text_rows} + users + items;
  GALREC_CHECK(total <= std::numeric_limits<std::int32_t>::max(), "{} tokens do not fit 32 bits", total);
}

std::int32_t IdTokens::user_token(std::int32_t user) const {
  GALREC_CHECK(user >= 0 && user < users_, "user {} of {}", user, users_);
  return text_rows_ + user;
}

std::int32_t IdTokens::item_token(std::int32_t item) const {
  GALREC_CHECK(item >= 0 && item < items_, "item {} of {}", item, items_);
  return text_rows_ + users_ + item;
}

std::int32_t IdTokens::user_of(std::int32_t token) const {
  GALREC_CHECK(is_user(token), "token {} is no user: those are [{}, {})", token, text_rows_, text_rows_ + users_);
  return token - text_rows_;
}

std::int32_t IdTokens::item_of(std::int32_t token) const {
  GALREC_CHECK(is_item(token), "token {} is no item: those are [{}, {})", token, text_rows_ + users_, vocab_size());
  return token - text_rows_ - users_;
}

std::int32_t IdTokens::padded_text_rows(std::int32_t vocab_size) {
  GALREC_CHECK(vocab_size >= 0 && vocab_size <= std::numeric_limits<std::int32_t>::max() - 127, "vocab_size {}",
               vocab_size);
  return (vocab_size + 127) / 128 * 128;
}

}  // namespace galrec::data
