// templates/default.txt, so that the program needs no file beside it. A test compares the two.

#include "data/prompt_templates.h"

namespace galrec::data {

std::string_view PromptTemplates::default_text() {
  return R"(# Prompt templates of graph-aware learning: one line for each node and number of hops.
#
#   name: text with {placeholders}
#
# u0 u1 u2 describe a user, i0 i1 i2 an item, with 0, 1 and 2 hops of the interaction graph.
#   {user} {item}    the id token of the user or item itself
#   {items} {users}  the id tokens of the neighbours, one after the other
# In user templates, {items} are the history and {users} (u2) the users who share items with it. In item templates, {users}
# are the users of the item and {items} (i2) the other items of these users. u2 is the prompt that recommends.
# Write {{ and }} for braces.

u0: user {user}
u1: user {user} has interacted with items {items}
u2: user {user} has interacted with items {items}; users with shared items: {users} . What is the next recommendation ?
i0: item {item}
i1: item {item} has interacted with users {users}
i2: item {item} has interacted with users {users}; items with shared users: {items} . What is the next recommendation ?
)";
}

}  // namespace galrec::data
