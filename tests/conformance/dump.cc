#include "tests/conformance/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <sstream>

#include "kernels/common/check.h"

namespace galrec::conformance {

namespace {

constexpr const char* kClaims[] = {"exact", "ulps", "relative", "near-one", "scaled", "observed"};

const char* name_of(Claim c) {
  return kClaims[static_cast<int>(c)];
}

float as_float(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}

/// Order of floats as integers, so that neighbours differ by one.
std::int64_t order(std::uint32_t bits) {
  const auto magnitude = static_cast<std::int64_t>(bits & 0x7fffffffu);
  return bits >> 31 ? -magnitude : magnitude;
}

double difference(const Probe& p, std::size_t i, std::uint32_t expected, std::uint32_t actual) {
  const double ulps = std::abs(static_cast<double>(order(expected) - order(actual)));
  if (p.claim == Claim::kExact || p.claim == Claim::kUlps || p.claim == Claim::kObserved) return ulps;
  const double e = as_float(expected), a = as_float(actual);
  if (!std::isfinite(e) || !std::isfinite(a)) return e == a ? 0 : HUGE_VAL;
  const double error = std::abs(e - a);
  if (error == 0) return 0;
  switch (p.claim) {
    case Claim::kRelative:
      return error / std::abs(e);
    case Claim::kNearOne:
      return error / std::max(1.0, std::abs(e));
    default:
      return error / std::max(static_cast<double>(p.scale[i]), 1e-300);
  }
}

void write_words(std::string& out, const char* what, const std::vector<std::uint32_t>& words) {
  if (words.empty()) return;
  out += what;
  for (std::size_t i = 0; i < words.size(); ++i) out += fmt::format("{}{:08x}", i % 12 == 0 ? "\n " : " ", words[i]);
  out += "\n";
}

}  // namespace

std::string write_dump(const std::vector<Probe>& probes, const std::string& machine) {
  std::string out = "# What instructions return on fixed inputs (docs/gpu.md). Machine: " + machine + "\n";
  for (const Probe& p : probes) {
    out += fmt::format("probe {}\nclaim {} {:.17g}\n", p.name, name_of(p.claim), p.bound);
    std::vector<std::uint32_t> scale;
    for (const float s : p.scale) scale.push_back(std::bit_cast<std::uint32_t>(s));
    write_words(out, "in", p.in);
    write_words(out, "scale", scale);
    write_words(out, "out", p.out);
  }
  return out;
}

std::vector<Probe> read_dump(const std::string& text, const std::string& file) {
  std::vector<Probe> probes;
  std::istringstream in(text);
  std::vector<std::uint32_t>* words = nullptr;
  std::vector<std::uint32_t> scale;
  int number = 0;
  const auto fail = [&](const std::string& got, const char* expected) {
    throw DataError(fmt::format("{}:{}: got '{}', expected {}", file, number, got, expected));
  };
  const auto keep_scale = [&] {
    for (const auto bits : scale) probes.back().scale.push_back(as_float(bits));
    scale.clear();
  };
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::istringstream fields(line);
    std::string word;
    if (line.empty() || line[0] == '#' || !(fields >> word)) continue;
    if (word == "probe") {
      if (!probes.empty()) keep_scale();
      probes.emplace_back();
      probes.back().name = line.substr(6);
      words = nullptr;
    } else if (probes.empty()) {
      fail(word, "'probe NAME' first");
    } else if (word == "claim") {
      std::string kind;
      fields >> kind >> probes.back().bound;
      const auto* found =
          std::find_if(std::begin(kClaims), std::end(kClaims), [&](const char* c) { return kind == c; });
      if (found == std::end(kClaims) || !fields) fail(line, "'claim KIND BOUND'");
      probes.back().claim = static_cast<Claim>(found - std::begin(kClaims));
    } else if (word == "in") {
      words = &probes.back().in;
    } else if (word == "out") {
      words = &probes.back().out;
    } else if (word == "scale") {
      words = &scale;
    } else {
      do {
        if (words == nullptr || word.size() != 8 || word.find_first_not_of("0123456789abcdef") != std::string::npos)
          fail(word, "words of eight hexadecimal digits under in, out or scale");
        words->push_back(static_cast<std::uint32_t>(std::stoul(word, nullptr, 16)));
      } while (fields >> word);
    }
  }
  if (!probes.empty()) keep_scale();
  for (const Probe& p : probes) {
    if (p.claim == Claim::kScaled && p.scale.size() != p.out.size())
      fail(p.name, "a scale for each word of a scaled probe");
  }
  return probes;
}

std::vector<Difference> compare(const std::vector<Probe>& expected, const std::vector<Probe>& actual) {
  const auto find = [](const std::vector<Probe>& in, const std::string& name) {
    const auto at = std::find_if(in.begin(), in.end(), [&](const Probe& p) { return p.name == name; });
    return at == in.end() ? nullptr : &*at;
  };
  std::vector<Difference> out;
  for (const Probe& e : expected) {
    Difference d{.name = e.name, .claim = e.claim, .bound = e.bound, .fault = ""};
    const Probe* a = find(actual, e.name);
    if (a == nullptr) {
      d.fault = "not in the second dump";
    } else if (a->in != e.in || a->out.size() != e.out.size() || a->claim != e.claim || a->bound != e.bound ||
               a->scale != e.scale) {
      d.fault = "the dumps are of different inputs or claims";
    } else {
      d.words = static_cast<std::int64_t>(e.out.size());
      for (std::size_t i = 0; i < e.out.size(); ++i) {
        if (e.out[i] == a->out[i]) continue;
        // Which NaN it is matters only where the claim is about bits.
        if (e.claim != Claim::kExact && std::isnan(as_float(e.out[i])) && std::isnan(as_float(a->out[i]))) continue;
        ++d.different;
        const double by = difference(e, i, e.out[i], a->out[i]);
        if (!(by <= d.largest)) d.largest = by, d.where = i;
      }
      if (e.claim == Claim::kExact && d.different > 0)
        d.fault = "not the same bits";
      else if (e.claim != Claim::kObserved && e.claim != Claim::kExact && !(d.largest <= e.bound))
        d.fault = "beyond the bound";
    }
    out.push_back(d);
  }
  for (const Probe& a : actual) {
    if (find(expected, a.name) == nullptr)
      out.push_back({.name = a.name, .claim = a.claim, .bound = a.bound, .fault = "not in the first dump"});
  }
  return out;
}

std::string table(const std::vector<Difference>& differences) {
  std::string out =
      "| probe | claim | bound | words | different | largest | at word | |\n|---|---|---|---|---|---|---|---|\n";
  for (const Difference& d : differences) {
    out += fmt::format("| {} | {} | {:.3g} | {} | {} | {:.3g} | {} | {} |\n", d.name, name_of(d.claim), d.bound,
                       d.words, d.different, d.largest, d.different > 0 ? std::to_string(d.where) : "",
                       d.fault.empty() ? "holds" : "FAILS: " + d.fault);
  }
  return out;
}

}  // namespace galrec::conformance
