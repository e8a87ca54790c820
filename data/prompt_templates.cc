#include "data/prompt_templates.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "data/atomic_file.h"
#include "data/tokenizer.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

struct HopRow {
  std::string_view name;
  std::vector<Slot> allowed;
  Slot required;  // without it the template would not be about this hop
};

const HopRow& row(Hop hop) {
  static const std::array<HopRow, kHops> kRows{{{"u0", {Slot::kUser}, Slot::kUser},
                                                {"u1", {Slot::kUser, Slot::kItems}, Slot::kItems},
                                                {"u2", {Slot::kUser, Slot::kItems, Slot::kUsers}, Slot::kUsers},
                                                {"i0", {Slot::kItem}, Slot::kItem},
                                                {"i1", {Slot::kItem, Slot::kUsers}, Slot::kUsers},
                                                {"i2", {Slot::kItem, Slot::kUsers, Slot::kItems}, Slot::kItems}}};
  return kRows[static_cast<std::size_t>(hop)];
}

constexpr std::array<std::pair<std::string_view, Slot>, 4> kPlaceholders{
    {{"user", Slot::kUser}, {"item", Slot::kItem}, {"items", Slot::kItems}, {"users", Slot::kUsers}}};

std::string_view placeholder_name(Slot slot) {
  for (const auto& [name, known] : kPlaceholders)
    if (known == slot) return name;
  return "literal";
}

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

Template parse_template(std::string_view text, Hop hop, const std::string& where) {
  const HopRow& rules = row(hop);
  const auto fail = [&](const std::string& what) -> void {
    throw DataError(fmt::format("{}: template {}: {}", where, rules.name, what));
  };
  Template segments;
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) segments.push_back({Slot::kLiteral, std::exchange(literal, {})});
  };
  for (std::size_t at = 0; at < text.size();) {
    const bool doubled = at + 1 < text.size() && text[at + 1] == text[at];
    if (text[at] != '{' && text[at] != '}') {
      literal += text[at++];
    } else if (doubled) {
      literal += text[at];
      at += 2;
    } else if (text[at] == '}') {
      fail("got '}' without '{'; write }} for a brace");
    } else {
      const std::size_t end = text.find('}', at);
      if (end == std::string_view::npos) fail("got '{' without '}'; write {{ for a brace");
      const std::string_view name = text.substr(at + 1, end - at - 1);
      const auto known =
          std::find_if(kPlaceholders.begin(), kPlaceholders.end(), [&](const auto& p) { return p.first == name; });
      if (known == kPlaceholders.end())
        fail(fmt::format("unknown placeholder {{{}}}; expected {{user}}, {{item}}, {{items}} or {{users}}", name));
      if (std::find(rules.allowed.begin(), rules.allowed.end(), known->second) == rules.allowed.end())
        fail(fmt::format("placeholder {{{}}} has no meaning in {}", name, rules.name));
      flush();
      segments.push_back({known->second, {}});
      at = end + 1;
    }
  }
  flush();
  const bool complete =
      std::any_of(segments.begin(), segments.end(), [&](const Segment& s) { return s.slot == rules.required; });
  if (!complete) fail(fmt::format("expected the placeholder {{{}}}", placeholder_name(rules.required)));
  return segments;
}

std::optional<Hop> parse_hop(std::string_view name) {
  for (const Hop hop : kAllHops)
    if (row(hop).name == name) return hop;
  return std::nullopt;
}

}  // namespace

std::string_view hop_name(Hop hop) {
  return row(hop).name;
}

bool CompiledTemplate::has(Slot slot) const {
  return std::any_of(segments.begin(), segments.end(),
                     [&](const CompiledSegment& segment) { return segment.slot == slot; });
}

const PromptTemplates& PromptTemplates::defaults() {
  static const PromptTemplates kDefaults = parse(default_text(), "default templates");
  return kDefaults;
}

PromptTemplates PromptTemplates::load(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

PromptTemplates PromptTemplates::parse(std::string_view text, const std::string& name) {
  PromptTemplates templates;
  std::array<int, kHops> first_line{};
  int line = 0;
  while (!text.empty()) {
    ++line;
    const std::size_t end = text.find('\n');
    const std::string_view content = trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (content.empty() || content.front() == '#') continue;

    const std::string where = fmt::format("{}:{}", name, line);
    const std::size_t colon = content.find(':');
    if (colon == std::string_view::npos) throw DataError(fmt::format("{}: expected 'name: text'", where));
    const std::string_view key = trim(content.substr(0, colon));
    const auto hop = parse_hop(key);
    if (!hop) throw DataError(fmt::format("{}: unknown template '{}'; expected u0, u1, u2, i0, i1 or i2", where, key));
    int& first = first_line[static_cast<std::size_t>(*hop)];
    if (first != 0) throw DataError(fmt::format("{}: template {} occurs twice, first on line {}", where, key, first));
    first = line;
    templates.templates_[static_cast<std::size_t>(*hop)] = parse_template(trim(content.substr(colon + 1)), *hop, where);
  }
  for (const Hop hop : kAllHops)
    if (first_line[static_cast<std::size_t>(hop)] == 0)
      throw DataError(fmt::format("{}:{}: template {} is missing", name, line, hop_name(hop)));
  return templates;
}

CompiledTemplates PromptTemplates::compile(const Tokenizer& tokenizer) const {
  CompiledTemplates compiled;
  for (const Hop hop : kAllHops) {
    CompiledTemplate& into = compiled.templates_[static_cast<std::size_t>(hop)];
    for (const Segment& segment : get(hop)) {
      if (segment.slot != Slot::kLiteral) {
        into.segments.push_back({segment.slot, {}});
        continue;
      }
      auto tokens = tokenizer.encode(segment.text);
      if (tokens.empty()) continue;  // white space between two placeholders
      into.literal_tokens += static_cast<std::int64_t>(tokens.size());
      into.segments.push_back({Slot::kLiteral, std::move(tokens)});
    }
  }
  return compiled;
}

std::vector<std::string> PromptTemplates::literals() const {
  std::vector<std::string> texts;
  for (const Template& segments : templates_)
    for (const Segment& segment : segments)
      if (segment.slot == Slot::kLiteral && !trim(segment.text).empty()) texts.emplace_back(trim(segment.text));
  return texts;
}

}  // namespace galrec::data
