#pragma once
// Filling one prompt template: its fixed text, the node's own token, and the lists of neighbours.

#include <cstdint>
#include <span>
#include <vector>

#include "data/prompt_templates.h"

namespace galrec::gal {

/// What goes into the slots of a template; tokens are of whatever kind the caller packs.
struct PromptSlots {
  std::int32_t user = -1;               ///< token of {user}, -1: left out
  std::int32_t item = -1;               ///< token of {item}
  std::span<const std::int32_t> users;  ///< tokens of {users}
  std::span<const std::int32_t> items;  ///< tokens of {items}
};

/// Appends the prompt and `eos` to `tokens`; returns how many tokens. A prompt of more than `max_tokens` loses the last
/// entries of its two-hop list (users in a user's prompt, items in an item's), then the last of its one-hop list.
/// UsageError if even the fixed text is longer than that.
std::int32_t append_prompt(std::vector<std::int32_t>& tokens, const data::CompiledTemplate& prompt, data::Hop hop,
                           const PromptSlots& slots, std::int32_t eos, std::int32_t max_tokens);

}  // namespace galrec::gal
