#pragma once
// The text form of probes, and where two dumps differ.

#include <string>
#include <vector>

#include "tests/conformance/probe.h"

namespace galrec::conformance {

/// One block a probe: `probe NAME`, `claim KIND BOUND`, then the words in hex under `in`, `out`, `scale`.
std::string write_dump(const std::vector<Probe>& probes, const std::string& machine);

/// DataError, with file and line, for anything else.
std::vector<Probe> read_dump(const std::string& text, const std::string& file);

/// How far one probe's results differ.
struct Difference {
  std::string name;
  Claim claim = Claim::kExact;
  double bound = 0;
  std::int64_t words = 0;      // compared
  std::int64_t different = 0;  // of other bits (two NaN count as equal)
  double largest = 0;          // in the claim's unit: ulps, relative, of the scale; ulps for kExact and kObserved
  std::size_t where = 0;       // the word of the largest difference
  std::string fault;           // why the claim does not hold; empty: it holds
};

/// One entry for each probe of either dump; a probe that one of them lacks is a fault.
std::vector<Difference> compare(const std::vector<Probe>& expected, const std::vector<Probe>& actual);

/// A Markdown table of it.
std::string table(const std::vector<Difference>& differences);

}  // namespace galrec::conformance
