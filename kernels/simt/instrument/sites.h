#pragma once
// What identifies an instruction: the address after it, for accesses that the compiler reports; for those that the
// executor performs (ldmatrix, cp.async) an address that stands for the place of the call.

#include <string>

#include "kernels/common/place.h"

namespace galrec::simt {

/// The same pointer for the same place, always. The bytes behind it may tell apart what one call does.
const void* site_of(Place where);

/// "file:line" of an instruction of this program, from its debug information or its place; its address where that
/// fails.
std::string source_line(const void* pc);

}  // namespace galrec::simt
