#include "data/config_toml.h"

#include <toml++/toml.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr int kDeepestKey = 64;

std::string place(const std::string& name, const toml::source_region& source) {
  return fmt::format("{}:{}", name, source.begin.line);
}

// The library builds and frees nested tables recursively: a key of many thousand parts would end on the stack.
void refuse_deep_keys(const std::string& text, const std::string& name) {
  int line = 1, dots = 0;
  bool comment = false;
  for (const char c : text) {
    if (c == '\n') {
      ++line;
      dots = 0;
      comment = false;
    } else if (c == '#') {
      comment = true;
    } else if (c == ',' || c == '=') {
      dots = 0;
    } else if (c == '.' && !comment && ++dots > kDeepestKey) {
      throw UsageError(fmt::format("{}:{}: more than {} dots: no key is nested that deeply", name, line, kDeepestKey));
    }
  }
}

class Walker {
 public:
  explicit Walker(const std::string& name) : name_(name) {}

  void walk(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string_view part = key.str();
      const std::string where = place(name_, key.source());
      if (part.empty() || part.find('.') != std::string_view::npos)
        throw UsageError(fmt::format("{}: unknown key '{}' in quotes; write dotted keys without them", where, part));
      const std::string path = prefix.empty() ? std::string(part) : prefix + "." + std::string(part);
      if (const auto* child = node.as_table())
        walk(*child, path);
      else
        assignments_.push_back({path, value(node, path, where), where});
    }
  }

  std::vector<TomlAssignment> take() {
    // Tables iterate by name; messages and later-wins follow the file.
    std::stable_sort(assignments_.begin(), assignments_.end(),
                     [](const auto& a, const auto& b) { return line_of(a.where) < line_of(b.where); });
    return std::move(assignments_);
  }

 private:
  static int line_of(const std::string& where) { return std::stoi(where.substr(where.rfind(':') + 1)); }

  ConfigValue value(const toml::node& node, const std::string& path, const std::string& where) const {
    if (const auto v = node.as_boolean()) return v->get();
    if (const auto v = node.as_integer()) return v->get();
    if (const auto v = node.as_floating_point()) return v->get();
    if (const auto v = node.as_string()) return v->get();
    if (const auto v = node.as_array()) return list(*v, path, where);
    throw UsageError(fmt::format(
        "{}: {}: got a date or time, expected a number, text, true, false or a list of numbers", where, path));
  }

  ConfigValue list(const toml::array& array, const std::string& path, const std::string& where) const {
    std::vector<std::int64_t> integers;
    std::vector<double> numbers;
    for (const toml::node& element : array) {
      if (const auto integer = element.as_integer()) {
        integers.push_back(integer->get());
        numbers.push_back(static_cast<double>(integer->get()));
      } else if (const auto number = element.as_floating_point()) {
        numbers.push_back(number->get());
      } else {
        throw UsageError(fmt::format("{}: {}: element {}: expected a number", where, path, numbers.size()));
      }
    }
    if (integers.size() == numbers.size() && !integers.empty()) return integers;
    return numbers;
  }

  const std::string& name_;
  std::vector<TomlAssignment> assignments_;
};

}  // namespace

std::vector<TomlAssignment> parse_toml(const std::string& text, const std::string& name) {
  if (text.size() > kMaxBytes)
    throw UsageError(
        fmt::format("{}: got {} bytes, expected at most {}: not a configuration file?", name, text.size(), kMaxBytes));
  refuse_deep_keys(text, name);
  try {
    const toml::table table = toml::parse(text, name);
    Walker walker(name);
    walker.walk(table, "");
    return walker.take();
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}: {}", place(name, error.source()), error.description()));
  }
}

}  // namespace galrec::data
