#include "gal/prompt.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

using data::CompiledTemplate;
using data::Hop;
using data::Slot;
using Tokens = std::vector<std::int32_t>;

// 50 {user} 51 {items} 52 53 {users}
const CompiledTemplate kUserPrompt{{{Slot::kLiteral, {50}},
                                    {Slot::kUser, {}},
                                    {Slot::kLiteral, {51}},
                                    {Slot::kItems, {}},
                                    {Slot::kLiteral, {52, 53}},
                                    {Slot::kUsers, {}}},
                                   4};

TEST(Prompt, FillsTheSlotsInOrderAndClosesWithEos) {
  const Tokens users{7, 8}, items{3, 4, 5};
  Tokens out{99};
  EXPECT_EQ(append_prompt(out, kUserPrompt, Hop::kU2, {.user = 9, .users = users, .items = items}, 1, 512), 11);
  EXPECT_EQ(out, (Tokens{99, 50, 9, 51, 3, 4, 5, 52, 53, 7, 8, 1}));
}

TEST(Prompt, LeavesTheOwnTokenOut) {
  Tokens out;
  append_prompt(out, kUserPrompt, Hop::kU2, {}, 1, 512);
  EXPECT_EQ(out, (Tokens{50, 51, 52, 53, 1}));
}

TEST(Prompt, CutsTheTwoHopListFirstAndFromItsEnd) {
  const Tokens users{7, 8, 10}, items{3, 4, 5};
  Tokens out;
  append_prompt(out, kUserPrompt, Hop::kU2, {.user = 9, .users = users, .items = items}, 1, 11);
  EXPECT_EQ(out, (Tokens{50, 9, 51, 3, 4, 5, 52, 53, 7, 8, 1}));
  out.clear();
  append_prompt(out, kUserPrompt, Hop::kU2, {.user = 9, .users = users, .items = items}, 1, 8);
  EXPECT_EQ(out, (Tokens{50, 9, 51, 3, 4, 52, 53, 1})) << "then the items";
  out.clear();
  append_prompt(out, kUserPrompt, Hop::kI2, {.user = 9, .users = users, .items = items}, 1, 10);
  EXPECT_EQ(out, (Tokens{50, 9, 51, 3, 52, 53, 7, 8, 10, 1})) << "an item's near list are its users";
}

TEST(Prompt, RejectsALimitBelowTheFixedText) {
  Tokens out;
  EXPECT_THROW(append_prompt(out, kUserPrompt, Hop::kU2, {.user = 9, .users = {}, .items = {}}, 1, 5), UsageError);
  EXPECT_NO_THROW(append_prompt(out, kUserPrompt, Hop::kU2, {.user = 9, .users = {}, .items = {}}, 1, 6));
}

}  // namespace
}  // namespace galrec::gal
