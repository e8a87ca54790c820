#include "gal/prompt.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace galrec::gal {

std::int32_t append_prompt(std::vector<std::int32_t>& tokens, const data::CompiledTemplate& prompt, data::Hop hop,
                           const PromptSlots& slots, std::int32_t eos, std::int32_t max_tokens) {
  const bool of_user = hop == data::Hop::kU0 || hop == data::Hop::kU1 || hop == data::Hop::kU2;
  std::int64_t fixed = 1;  // eos
  bool has_users = false, has_items = false;
  for (const auto& segment : prompt.segments) {
    switch (segment.slot) {
      case data::Slot::kLiteral:
        fixed += static_cast<std::int64_t>(segment.tokens.size());
        break;
      case data::Slot::kUser:
        fixed += slots.user >= 0;
        break;
      case data::Slot::kItem:
        fixed += slots.item >= 0;
        break;
      case data::Slot::kUsers:
        has_users = true;
        break;
      case data::Slot::kItems:
        has_items = true;
        break;
    }
  }
  if (fixed > max_tokens) {
    throw UsageError(fmt::format("sample.max_tokens: got {}, expected at least {}, the fixed text of prompt {}",
                                 max_tokens, fixed, data::hop_name(hop)));
  }
  const std::int64_t room = max_tokens - fixed;
  // The near list goes first: {items} of a user, {users} of an item.
  std::int64_t users = has_users ? static_cast<std::int64_t>(slots.users.size()) : 0;
  std::int64_t items = has_items ? static_cast<std::int64_t>(slots.items.size()) : 0;
  std::int64_t& near = of_user ? items : users;
  std::int64_t& far = of_user ? users : items;
  near = std::min(near, room);
  far = std::min(far, room - near);

  const std::size_t before = tokens.size();
  for (const auto& segment : prompt.segments) {
    switch (segment.slot) {
      case data::Slot::kLiteral:
        tokens.insert(tokens.end(), segment.tokens.begin(), segment.tokens.end());
        break;
      case data::Slot::kUser:
        if (slots.user >= 0) tokens.push_back(slots.user);
        break;
      case data::Slot::kItem:
        if (slots.item >= 0) tokens.push_back(slots.item);
        break;
      case data::Slot::kUsers:
        tokens.insert(tokens.end(), slots.users.begin(), slots.users.begin() + users);
        break;
      case data::Slot::kItems:
        tokens.insert(tokens.end(), slots.items.begin(), slots.items.begin() + items);
        break;
    }
  }
  tokens.push_back(eos);
  return static_cast<std::int32_t>(tokens.size() - before);
}

}  // namespace galrec::gal
