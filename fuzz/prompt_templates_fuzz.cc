// Any text as a template file: a DataError, or six templates, none of them empty.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/prompt_templates.h"
#include "kernels/common/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace galrec;
  try {
    const auto templates = data::PromptTemplates::parse({reinterpret_cast<const char*>(bytes), size}, "fuzz");
    for (const data::Hop hop : data::kAllHops)
      if (templates.get(hop).empty()) __builtin_trap();
  } catch (const DataError&) {
  }
  return 0;
}
