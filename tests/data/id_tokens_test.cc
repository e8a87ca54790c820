#include "data/id_tokens.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"

namespace galrec::data {
namespace {

TEST(IdTokens, UsersFollowTextAndItemsFollowUsers) {
  const IdTokens tokens(IdTokens::kT5TextRows, 3, 2);
  EXPECT_EQ(tokens.user_token(0), 32128);
  EXPECT_EQ(tokens.user_token(2), 32130);
  EXPECT_EQ(tokens.item_token(0), 32131);
  EXPECT_EQ(tokens.item_token(1), 32132);
  EXPECT_EQ(tokens.vocab_size(), 32133);
}

TEST(IdTokens, EveryTokenIsExactlyOneKind) {
  const IdTokens tokens(5, 3, 4);
  for (std::int32_t token = -2; token < 15; ++token) {
    const int kinds = tokens.is_text(token) + tokens.is_user(token) + tokens.is_item(token);
    EXPECT_EQ(kinds, token >= 0 && token < 12) << token;
    if (tokens.is_user(token)) {
      EXPECT_EQ(tokens.user_token(tokens.user_of(token)), token);
    } else {
      EXPECT_THROW(tokens.user_of(token), CheckError);
    }
    if (tokens.is_item(token)) {
      EXPECT_EQ(tokens.item_token(tokens.item_of(token)), token);
    } else {
      EXPECT_THROW(tokens.item_of(token), CheckError);
    }
  }
}

TEST(IdTokens, RefusesWhatIsNotThere) {
  const IdTokens tokens(5, 3, 4);
  for (const std::int32_t user : {-1, 3}) EXPECT_THROW(tokens.user_token(user), CheckError);
  for (const std::int32_t item : {-1, 4}) EXPECT_THROW(tokens.item_token(item), CheckError);
  EXPECT_THROW(IdTokens(-1, 1, 1), CheckError);
  EXPECT_THROW(IdTokens(1 << 30, 1 << 30, 1 << 30), CheckError);
}

TEST(IdTokens, TextRowsArePaddedAsInT5) {
  EXPECT_EQ(IdTokens::padded_text_rows(32100), IdTokens::kT5TextRows);
  EXPECT_EQ(IdTokens::padded_text_rows(128), 128);
  EXPECT_EQ(IdTokens::padded_text_rows(129), 256);
}

}  // namespace
}  // namespace galrec::data
