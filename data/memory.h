#pragma once
// How much memory this process has needed.

#include <cstdint>
#include <string>

namespace galrec::data {

/// The largest resident set of this process so far, in bytes; 0 where the system does not say.
std::uint64_t peak_resident_bytes();

/// "1.46 GB": three significant digits in powers of 1000.
std::string format_bytes(std::uint64_t bytes);

}  // namespace galrec::data
