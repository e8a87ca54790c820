#pragma once
// What a run ran on.

#include <nlohmann/json_fwd.hpp>

namespace galrec::data {

/// Compiler, C++ library, operating system, host name, processor model and count, memory and the time (UTC).
nlohmann::ordered_json describe_environment();

}  // namespace galrec::data
