#pragma once
// The texts around the id tokens of a prompt.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace galrec::data {

class Tokenizer;

/// A user (U) or item (I) described by 0, 1 or 2 hops of the graph. U2 is the recommendation prompt.
enum class Hop { kU0, kU1, kU2, kI0, kI1, kI2 };
inline constexpr std::size_t kHops = 6;
inline constexpr std::array<Hop, kHops> kAllHops{Hop::kU0, Hop::kU1, Hop::kU2, Hop::kI0, Hop::kI1, Hop::kI2};

/// "u0" to "i2"
std::string_view hop_name(Hop hop);

/// What stands at a place of a template: fixed text, the node's own id token, or a list of id tokens.
enum class Slot { kLiteral, kUser, kItem, kItems, kUsers };

struct Segment {
  Slot slot = Slot::kLiteral;
  std::string text;  ///< of a literal

  bool operator==(const Segment&) const = default;
};

using Template = std::vector<Segment>;

/// A template whose literals are token ids: building a prompt is concatenation.
struct CompiledSegment {
  Slot slot = Slot::kLiteral;
  std::vector<std::int32_t> tokens;  ///< of a literal; never empty there
};

struct CompiledTemplate {
  std::vector<CompiledSegment> segments;
  std::int64_t literal_tokens = 0;  ///< their total
  bool has(Slot slot) const;
};

class CompiledTemplates {
 public:
  const CompiledTemplate& get(Hop hop) const { return templates_[static_cast<std::size_t>(hop)]; }

 private:
  friend class PromptTemplates;
  std::array<CompiledTemplate, kHops> templates_;
};

/// The six templates of a template file (see templates/default.txt, which the defaults are a copy of).
class PromptTemplates {
 public:
  static const PromptTemplates& defaults();
  static PromptTemplates load(const std::filesystem::path& path);
  /// DataError `name:line: ...` for an unknown template or placeholder, a placeholder that has no meaning there, a
  /// missing or repeated template, unbalanced braces.
  static PromptTemplates parse(std::string_view text, const std::string& name);
  /// The text of templates/default.txt, compiled in.
  static std::string_view default_text();

  const Template& get(Hop hop) const { return templates_[static_cast<std::size_t>(hop)]; }
  /// Tokenises each literal on its own: id tokens part the text as special tokens do. The closing </s> is not included.
  CompiledTemplates compile(const Tokenizer& tokenizer) const;
  /// All literals, in order: sentences to train a vocabulary on.
  std::vector<std::string> literals() const;

 private:
  std::array<Template, kHops> templates_;
};

}  // namespace galrec::data
